/** A mail before it has a sender and an address. */
export interface Letter {
  subject: string
  text: string
  html: string
}

interface Draft {
  subject: string
  /** Plain text; may hold what users have written. */
  paragraphs: readonly string[]
  /** A link to follow, and the token in it for those who cannot. */
  action?: { label: string; url: string; token?: string }
}

/** Makes a mail of its parts, as text and as HTML. The one place where values get into HTML: all are escaped. */
function letter({ subject, paragraphs, action }: Draft): Letter {
  const link = action ? [`${action.label}: ${action.url}`] : []
  const token = action?.token ? ['Or enter this token:', action.token] : []
  const html = [
    ...paragraphs.map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`),
    ...(action ? [`<p><a href="${escapeHtml(action.url)}">${escapeHtml(action.label)}</a></p>`] : []),
    ...(action?.token ? [`<p>Or enter this token: <code>${escapeHtml(action.token)}</code></p>`] : []),
  ]
  return {
    subject: oneLine(subject),
    text: `${[...paragraphs, ...link, ...token].join('\n\n')}\n`,
    html: `<!doctype html>\n<html lang="en"><body>\n${html.join('\n')}\n</body></html>\n`,
  }
}

export function welcomeLetter(to: { firstName: string; token: string; appUrl: string }): Letter {
  return letter({
    subject: 'Welcome to Seam',
    paragraphs: [
      `Welcome to Seam, ${to.firstName}!`,
      'Your account is ready. Please confirm that this address is yours.',
    ],
    action: { label: 'Confirm the address', url: linkTo(to.appUrl, 'verify-email', to.token), token: to.token },
  })
}

export function addressLetter(to: { firstName: string; token: string; appUrl: string }): Letter {
  return letter({
    subject: 'Confirm your address',
    paragraphs: [`Hello ${to.firstName},`, 'mail of Seam comes to this address now. Please confirm that it is yours.'],
    action: { label: 'Confirm the address', url: linkTo(to.appUrl, 'verify-email', to.token), token: to.token },
  })
}

export function resetLetter(to: { firstName: string; token: string; appUrl: string }): Letter {
  return letter({
    subject: 'Set a new password',
    paragraphs: [
      `Hello ${to.firstName},`,
      'somebody, probably you, has asked for a new password. If it was not you, nothing needs to be done.',
    ],
    action: { label: 'Set a new password', url: linkTo(to.appUrl, 'reset-password', to.token), token: to.token },
  })
}

/** The mail that says what a notification says. */
export function noticeLetter(text: string): Letter {
  return letter({ subject: shortened(text, 150), paragraphs: [text] })
}

/** A text on one line, at most `length` characters long. */
export function shortened(text: string, length: number): string {
  const line = oneLine(text)
  const characters = Array.from(line)
  return characters.length <= length ? line : `${characters.slice(0, length - 1).join('')}…`
}

/** Line breaks and other control characters have no place in a header. */
const oneLine = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()

const linkTo = (appUrl: string, page: string, token: string): string =>
  `${appUrl.replace(/\/+$/, '')}/${page}?token=${encodeURIComponent(token)}`

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)
