import { connect } from 'node:tls'

/** Tries to reach what is not public, and to be somebody else. Returns what went through that should not have. */
export async function checkFromOutside(url: string): Promise<string[]> {
  const faults: string[] = []
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(url + path, { headers, redirect: 'manual', signal: AbortSignal.timeout(15_000) })
  for (const path of [
    '/metrics',
    '/livez',
    '/readyz',
    '/console',
    '/_seam/call',
    '/_seam/users',
    '/',
    '/api',
    '/.env',
  ]) {
    const { status } = await get(path)
    if (status !== 404) faults.push(`${path} is answered with ${status}`)
  }
  const forged = {
    'x-seam-identity': 'x',
    'x-seam-service': 'x',
    'x-user-id': '1',
    'x-forwarded-for': '127.0.0.1',
    forwarded: 'for=127.0.0.1',
    authorization: `Bearer ${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`,
  }
  const profile = await get('/api/profile', forged)
  if (profile.status !== 401) faults.push(`/api/profile with forged headers is answered with ${profile.status}`)
  const huge = await get('/api/health', { 'x-huge': 'x'.repeat(60_000) }).then(
    ({ status }) => status,
    () => 431,
  )
  if (huge < 400 || huge >= 500) faults.push(`a header of 60 kB is answered with ${huge}`)
  for (const [what, request] of Object.entries(SMUGGLING)) {
    const answers = await raw(url, request)
    if (/smuggled|"status":"healthy"/.test(answers) || (answers.match(/^HTTP\/1\.1 /gm) ?? []).length > 1)
      faults.push(`${what} is answered with ${JSON.stringify(answers.slice(0, 200))}`)
  }
  return faults
}

const head = 'POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
const hidden = 'GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n'
const SMUGGLING = {
  'a body by length and in chunks': `${head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
  'two lengths': `${head}Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
  'an unknown coding': `${head}Transfer-Encoding: xchunked\r\n\r\n${hidden}`,
}

/** Sends bytes as they are, and reads for at most 3 s. */
function raw(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(
      { host: hostname, port: Number(port), servername: 'localhost', ALPNProtocols: ['http/1.1'] },
      () => socket.write(request),
    )
    socket.setTimeout(3_000, () => socket.destroy())
    socket.on('data', (chunk) => (text += chunk))
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
  })
}
