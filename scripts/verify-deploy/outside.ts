import { connect as connectPlain } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { Agent, fetch } from 'undici'

/** Whom to ask. */
export interface Outside {
  /** `http:` or `https:`, without a path. */
  readonly url: string
  /** The certificate to trust besides those that Node.js trusts. */
  readonly ca?: string
  /** Tokens that this system has not made for a user. */
  readonly tokens?: Readonly<Record<string, string>>
}

/** Paths that are nobody's business, whoever asks. */
const CLOSED = ['/metrics', '/livez', '/readyz', '/console', '/_seam/call', '/_seam/users', '/', '/api', '/.env']
/** How long a client may take to send what it has announced, in milliseconds, and how long the longest wait is here. */
const PATIENCE = { slow: 45_000, answer: 15_000, bytes: 3_000 }

/**
 * Tries to reach what is not public, to be somebody else, and to do harm with requests that are none.
 *
 * @returns what went through that should not have
 */
export async function checkFromOutside(outside: Outside): Promise<string[]> {
  // One request a connection: with HTTP/2, one that is refused for its size would end the others too.
  const agent = new Agent({ allowH2: false, connect: { ...(outside.ca && { ca: outside.ca }) } })
  try {
    const get: Get = async (path, headers = {}) => {
      const signal = AbortSignal.timeout(PATIENCE.answer)
      const answer = await fetch(outside.url + path, { headers, redirect: 'manual', signal, dispatcher: agent })
      return { status: answer.status, text: await answer.text() }
    }
    const checks = [
      closedPaths(get),
      forgeries(get, outside.tokens ?? {}),
      hugeHeaders(get),
      smuggling(outside, get),
      slowness(outside),
    ]
    const found = await Promise.allSettled(checks)
    for (const one of found) if (one.status === 'rejected') throw one.reason
    return [...found.flatMap((one) => (one.status === 'fulfilled' ? one.value : [])), ...(await stillWell(get))]
  } finally {
    await agent.destroy()
  }
}

type Get = (path: string, headers?: Record<string, string>) => Promise<{ status: number; text: string }>

async function closedPaths(get: Get): Promise<string[]> {
  const faults: string[] = []
  for (const path of CLOSED) {
    const { status } = await get(path)
    if (status !== 404) faults.push(`${path} is answered with ${status}`)
  }
  return faults
}

async function forgeries(get: Get, tokens: Readonly<Record<string, string>>): Promise<string[]> {
  const faults: string[] = []
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`
  const forged = {
    'x-seam-identity': unsigned,
    'x-seam-service': unsigned,
    'x-user-id': '1',
    'x-forwarded-for': '127.0.0.1',
    forwarded: 'for=127.0.0.1',
    'x-original-url': '/metrics',
    'x-rewrite-url': '/metrics',
  }
  for (const [name, token] of Object.entries({ 'that is not signed': unsigned, ...tokens }))
    for (const [path, headers] of [
      ['/api/profile', { authorization: `Bearer ${token}` }],
      ['/api/profile', { ...forged, authorization: `Bearer ${token}` }],
      ['/api/users', { authorization: `Bearer ${token}` }],
    ] as const) {
      const { status } = await get(path, headers)
      if (status !== 401) faults.push(`${path} with a token ${name} is answered with ${status}`)
    }
  const { status } = await get('/api/profile', forged)
  if (status !== 401) faults.push(`/api/profile with forged headers is answered with ${status}`)
  return faults
}

/** Whoever reads no more may close before all is sent. */
const REFUSED: readonly unknown[] = [400, 413, 414, 431, 494, 'UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']

async function hugeHeaders(get: Get): Promise<string[]> {
  const faults: string[] = []
  for (const [what, headers] of Object.entries({
    'a header of 60 kB': { 'x-huge': 'x'.repeat(60_000) },
    '3,000 headers': Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`x-${i}`, 'x'.repeat(10)])),
    'a cookie of 60 kB': { cookie: `session=${'x'.repeat(60_000)}` },
  })) {
    const outcome = await get('/api/health', headers).then(
      ({ status }) => status,
      (error) => error.cause?.code ?? error.name,
    )
    if (!REFUSED.includes(outcome)) faults.push(`${what} is answered with ${outcome}`)
  }
  return faults
}

const head = 'POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
const hidden = 'GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'
const SMUGGLING = {
  'a body by length and in chunks': `${head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
  'two lengths': `${head}Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
  'an unknown coding': `${head}Transfer-Encoding: xchunked\r\n\r\n${hidden}`,
  'a coding after a space': `${head}Content-Length: ${hidden.length + 5}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${hidden}`,
  'a folded coding': `${head}Content-Length: ${hidden.length + 5}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${hidden}`,
  'a length with a sign': `${head}Content-Length: +0\r\n\r\n${hidden}`,
  'a chunk that is longer than it says': `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n${hidden}`,
}

/** Asks besides whether the answer to a hidden request comes to somebody else, who uses the proxy's connection next. */
async function smuggling(outside: Outside, get: Get): Promise<string[]> {
  const faults: string[] = []
  const answersTo = async (request: string) => {
    const { text } = await raw(outside, (write) => write(request), PATIENCE.bytes)
    return { text, statuses: [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status) }
  }
  const sound = await answersTo(hidden.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  if (sound.statuses.join() !== '200') faults.push(`a sound request is answered with ${JSON.stringify(sound.text)}`)
  for (const [what, request] of Object.entries(SMUGGLING)) {
    const { text, statuses } = await answersTo(request)
    if (/"openapi":/.test(text) || statuses.length > 1 || statuses[0] === '200')
      faults.push(`${what} is answered with ${JSON.stringify(text.slice(0, 200))}`)
    for (let n = 0; n < 5; n++) {
      const { status } = await get('/api/nothing/is/here')
      if (status !== 404) faults.push(`after ${what}, somebody else is answered with ${status}`)
    }
  }
  return faults
}

async function stillWell(get: Get): Promise<string[]> {
  const { status } = await get('/openapi.json')
  return status === 200 ? [] : [`after all this, /openapi.json is answered with ${status}`]
}

/**
 * Clients that begin and do not go on are let go of; in the head also if they send a byte now and then. (nginx gathers a body
 * for as long as some of it comes, and limits only how many do so from one address.)
 */
async function slowness(outside: Outside): Promise<string[]> {
  const slow = {
    'a head that drips': { begin: 'GET /api/health HTTP/1.1\r\nHost: localhost\r\nx-slow: ', drip: 'x' },
    'a body that does not come': { begin: `${head}Content-Length: 1000\r\n\r\n{`, drip: '' },
  }
  const faults = Object.entries(slow).map(async ([what, { begin, drip }]) => {
    let timer: NodeJS.Timeout | undefined
    const send = (write: (bytes: string) => void) => {
      write(begin)
      if (drip) timer = setInterval(() => write(drip), 3_000)
    }
    const { text, isOpen } = await raw(outside, send, PATIENCE.slow)
    clearInterval(timer)
    const isAnswered = /^HTTP\/1\.1 [23]/.test(text)
    return isOpen || isAnswered ? [`${what} is waited for, or answered with ${JSON.stringify(text.slice(0, 100))}`] : []
  })
  return (await Promise.all(faults)).flat()
}

/**
 * Sends bytes as they are, and reads until the other side closes, or the time is over. Rejects when nobody is reached, which
 * would look like being refused.
 */
function raw(
  { url, ca }: Outside,
  send: (write: (bytes: string) => void) => void,
  milliseconds: number,
): Promise<{ text: string; isOpen: boolean }> {
  const { hostname: host, port: number, protocol } = new URL(url)
  const port = Number(number)
  return new Promise((resolve, reject) => {
    let text = ''
    let isOpen = false
    let isConnected = false
    const begin = () => {
      isConnected = true
      send((bytes) => socket.writable && socket.write(bytes))
    }
    const socket =
      protocol === 'https:'
        ? connectSecurely(
            { host, port, servername: 'localhost', ALPNProtocols: ['http/1.1'], ...(ca && { ca }) },
            begin,
          )
        : connectPlain({ host, port }, begin)
    const timer = setTimeout(() => {
      isOpen = true
      socket.destroy()
    }, milliseconds)
    socket.on('data', (chunk) => (text += chunk))
    socket.on('error', (error) => {
      if (!isConnected) reject(error)
    })
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      clearTimeout(timer)
      resolve({ text, isOpen })
    })
  })
}
