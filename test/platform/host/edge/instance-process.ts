// An instance of a module as a process of its own, for a test that kills it. It tells its address, and who it is in each
// answer.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const server = createServer((request, response) => {
  request.resume()
  setTimeout(() => response.setHeader('content-type', 'application/json').end(JSON.stringify({ pid: process.pid })), 2)
})
server.listen(0, '127.0.0.1', () => process.send!(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
process.on('disconnect', () => process.exit())
