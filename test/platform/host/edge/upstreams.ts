import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** An address at which connections are treated as `handle` does, until the test ends. */
export async function listen(t: Test, handle: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    handle(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An address that answers each request with these bytes and closes the connection. */
export function answering(t: Test, bytes: () => string): Promise<string> {
  return listen(t, (socket) => socket.once('data', () => socket.end(bytes())))
}

/** A server that keeps the last request it got and answers it with `{}`. */
export async function recorder(t: Test): Promise<{ url: string; last(): IncomingMessage }> {
  let last: IncomingMessage | undefined
  const server = createServer((request, response) => {
    last = request
    request.resume()
    response.setHeader('content-type', 'application/json').end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, last: () => last! }
}

/** An instance of a module: a real server that counts what it is asked. */
export interface Upstream {
  url: string
  /** Requests whose head has come. */
  asked: number
  /** Requests whose caller has gone before they were answered. */
  left: number
  /** Ends it as a crash would: open connections are cut, and nobody listens any more. */
  crash(): void
}

export async function upstream(t: Test, handle: RequestListener): Promise<Upstream> {
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    one.asked++
    response.on('close', () => {
      if (!response.writableFinished) one.left++
    })
    request.on('error', () => {})
    handle(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const one = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: 0,
    left: 0,
    crash() {
      server.close()
      server.closeAllConnections()
    },
  }
  t.teardown(() => one.crash())
  return one
}

/** Answers each request in this way. */
export const says =
  (status: number, body: object, headers: Record<string, string> = {}): RequestListener =>
  (request, response) => {
    request.resume()
    const type = status < 400 ? 'application/json' : 'application/problem+json'
    const text = JSON.stringify(body)
    response
      .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), ...headers })
      .end(text)
  }
