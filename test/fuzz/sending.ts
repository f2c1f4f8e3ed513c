import { createConnection } from 'node:net'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { Agent, type Dispatcher } from 'undici'
import type { Answer } from '../api/client.ts'
import type { Request } from './requests.ts'

/** So many requests are under way at a time. */
export const AT_ONCE = 8

/** From this size on (body, headers), a server may answer and hang up while it is still being told, so that the answer is lost. */
const LARGE = { body: 512 * 1024, headers: 15_000 }

/** Else undici would look for a name in the host header, and wait for ever where there is but half of an IPv6 address. */
const UNNAMED: object = { servername: 'fuzz.invalid' }

/** Sends requests as they are, over connections that are kept. */
export class Sender {
  readonly #origin: string
  readonly #agent = new Agent({ connections: 2 * AT_ONCE, pipelining: 1, headersTimeout: 15_000, bodyTimeout: 15_000 })

  constructor(origin: string) {
    this.#origin = origin
  }

  /** The answer, or null when the connection was ended before it came, as happens when a request is too large. */
  async send({ method, path, headers, body }: Request): Promise<Answer | null> {
    try {
      const answer = await this.#agent.request({
        origin: this.#origin,
        path,
        method: method as Dispatcher.HttpMethod,
        headers: headers.flat(),
        body: body ?? null,
        ...UNNAMED,
      })
      return await read(answer)
    } catch (error) {
      const isLarge = (body?.length ?? 0) > LARGE.body || headers.flat().join('').length + path.length > LARGE.headers
      if (isLarge && /^(UND_ERR_SOCKET|ECONNRESET|EPIPE)$/.test((error as { code?: string }).code ?? '')) return null
      throw error
    }
  }

  /** Sends bytes that need not be HTTP, ends the connection, and gives all that comes back, of a stream the head; '' if nothing does. */
  async sendRaw(bytes: Buffer): Promise<string> {
    const { hostname, port } = new URL(this.#origin)
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      const socket = createConnection(Number(port), hostname, () => socket.end(bytes))
      socket.setTimeout(15_000, () => socket.destroy(new Error('The connection is not closed.')))
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        if (isStream(chunk)) socket.destroy()
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
      })
      socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
    })
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

/** Whether the head of an answer says that it is a stream of events, which does not end, and is never silent for long. */
const isStream = (head: Buffer): boolean => /^content-type: text\/event-stream/im.test(head.toString('latin1'))

async function read({ statusCode: status, headers, body }: Dispatcher.ResponseData): Promise<Answer> {
  // A stream of events does not end.
  if (String(headers['content-type']).startsWith('text/event-stream')) {
    body.on('error', () => {}).destroy()
    return { status, headers, text: '', body: undefined }
  }
  const text = decoded(Buffer.from(await body.arrayBuffer()), headers['content-encoding'])
  return { status, headers, text, body: parsed(text) }
}

function decoded(bytes: Buffer, encoding: string | string[] | undefined): string {
  if (bytes.length === 0) return ''
  if (encoding === 'gzip') return gunzipSync(bytes).toString()
  if (encoding === 'br') return brotliDecompressSync(bytes).toString()
  return bytes.toString()
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A request for people: what is long is cut. */
export function shown({ method, path, headers, body }: Request): string {
  const cut = (text: string) => (text.length > 2_000 ? `${text.slice(0, 2_000)}… (${text.length})` : text)
  const lines = [`${method} ${path}`, ...headers.map(([name, value]) => `${name}: ${value}`)]
  return [...lines.map(cut), ...(body ? ['', cut(JSON.stringify(body.toString('utf8')))] : [])].join('\n')
}
