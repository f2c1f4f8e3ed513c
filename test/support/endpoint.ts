import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'

/** A request as an {@link Endpoint} received it. */
export interface ReceivedRequest {
  path: string
  headers: IncomingHttpHeaders
  body: Buffer
}

/** What an {@link Endpoint} answers with: a status, maybe with headers; a body of many bytes; nothing at all; or an end. */
export type Reply = number | { status: number; headers?: Record<string, string>; bytes?: number } | 'silence' | 'drop'

/** Somebody else's service: a real HTTP server on 127.0.0.1 that keeps what it gets and answers as it is told. */
export interface Endpoint {
  url: string
  readonly received: ReceivedRequest[]
  /** What the next requests to a path get, one after the other; later ones, and other paths, get 201. */
  replies(path: string, ...replies: Reply[]): void
  close(): Promise<void>
}

export async function startEndpoint(): Promise<Endpoint> {
  const received: ReceivedRequest[] = []
  const planned = new Map<string, Reply[]>()
  const server = createServer(async (request, response) => {
    const path = request.url ?? ''
    received.push({ path, headers: request.headers, body: await buffer(request) })
    const reply = planned.get(path)?.shift() ?? 201
    if (reply === 'silence') return
    if (reply === 'drop') return request.socket.destroy()
    const { status, headers = {}, bytes = 0 } = typeof reply === 'number' ? { status: reply } : reply
    response.writeHead(status, headers).end('x'.repeat(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    replies: (path, ...replies) => planned.set(path, replies),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
