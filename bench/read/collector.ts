import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '../lib/children.ts'

/** Takes traces, and forgets them. */
await serve(async () => {
  const server = createServer((request, response) => request.resume().on('end', () => response.end()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { ready: { port: (server.address() as AddressInfo).port } }
})
