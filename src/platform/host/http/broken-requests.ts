import type { Socket } from 'node:net'
import { codeOf, type Problem } from './problems.ts'
import { STATUS_CODES } from './status-texts.ts'

/** What Node's HTTP parser refuses, by its error codes; anything else is 400. */
const REFUSALS: Record<string, { status: number; detail: string }> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: 'The request took too long to arrive.' },
  HPE_HEADER_OVERFLOW: { status: 431, detail: 'The address and the headers are larger than 16 KiB.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, detail: 'The chunk extensions are too large.' },
}

/**
 * Answers what is no HTTP request, or one with larger headers than are read, in the form of all other errors, and closes
 * the connection. Fastify never sees it, so it has no path and no id but the one that is made here.
 */
export function refuseBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  // One answer is all: what comes after it is refused by the parser as well, piece by piece.
  if (error.code === 'ECONNRESET' || socket.writableEnded || socket.destroyed) return
  const { status, detail } = REFUSALS[error.code ?? ''] ?? { status: 400, detail: 'This is not an HTTP request.' }
  const code = codeOf(status)
  const title = STATUS_CODES[status] ?? 'Error'
  const requestId = crypto.randomUUID()
  const problem: Problem = {
    type: `urn:seam:seam:${code}`,
    title,
    status,
    detail,
    instance: '',
    code,
    module: 'seam',
    requestId,
  }
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    'connection: close',
  ]
  if (socket.writable) socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  socket.destroySoon()
}
