import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '../lib/children.ts'

/** What stands behind all gateways: as little as can be, so that what is measured is the hop. */
await serve(async () => {
  const body = Buffer.from(JSON.stringify({ data: { id: '0198', text: 'x'.repeat(562) } }))
  const headers = { 'content-type': 'application/json', 'content-length': body.length }
  const server = createServer((_request, response) => response.writeHead(200, headers).end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { ready: { port: (server.address() as AddressInfo).port } }
})
