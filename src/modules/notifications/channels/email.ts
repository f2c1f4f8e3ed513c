import type { Transporter } from 'nodemailer'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import type { notifications } from '../contract.ts'
import { type Deliver, Refused } from '../delivery.ts'
import type { settings } from '../settings.ts'

/**
 * Sends a mail by SMTP, with a Message-ID that stays the same, so that a mail server or a reader can tell a repetition.
 * Without `SMTP_URL` mail goes nowhere, and counts as sent.
 */
export function emailChannel(app: ModuleApp<typeof notifications, typeof settings>): Deliver {
  const { SMTP_URL: url, MAIL_FROM: from } = app.settings
  const domain = /@([^>\s]+)/.exec(from ?? '')?.[1] ?? 'localhost'
  if (!url) app.log.info('SMTP_URL is not set: mail is kept in the database and goes nowhere')
  let transporter: Promise<Transporter> | undefined
  app.addHook('onClose', async () => (await transporter)?.close())

  // Loaded when it is first needed.
  const connect = async () => {
    const { createTransport } = await import('nodemailer')
    return createTransport({
      url,
      pool: true,
      maxConnections: 5,
      connectionTimeout: 5_000,
      greetingTimeout: 5_000,
      socketTimeout: 20_000,
      disableFileAccess: true,
      disableUrlAccess: true,
    } as object)
  }

  return async ({ id, to, subject, text, html }) => {
    if (!url) return
    transporter ??= connect()
    const mail = {
      from,
      // As an object it is taken as it is, and not read as a list of addresses.
      to: { name: '', address: to },
      subject: subject ?? '',
      text,
      messageId: `<${id}@${domain}>`,
      ...(html !== null && { html }),
    }
    await (await transporter).sendMail(mail).catch((error) => {
      throw isFinal(error) ? new Refused(error.message) : error
    })
  }
}

/** Whether a server has said that it will never take this mail for this recipient (RFC 5321: 5yz). */
function isFinal({ responseCode, command }: { responseCode?: number; command?: string }): boolean {
  return Number(responseCode) >= 500 && (command === 'RCPT TO' || command === 'DATA')
}
