import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
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
