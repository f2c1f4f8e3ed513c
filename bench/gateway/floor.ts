import { createServer } from 'node:http'
import { Agent, type Dispatcher } from 'undici'
import { serve } from '../lib/children.ts'

/** As little as passes a request on and its answer back in Node.js, without a framework: what any hop here costs at least. */
await serve<{ upstream: string; connections: number }>(async ({ upstream, connections }) => {
  const dispatcher = new Agent({ connections, pipelining: 1 })
  const server = createServer((request, response) => {
    let head: [number, Record<string, string | string[] | undefined>] = [502, {}]
    const parts: Buffer[] = []
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart: (_controller, status, headers) => void (head = [status, headers]),
      onResponseData: (_controller, chunk) => void parts.push(chunk),
      onResponseEnd() {
        response.writeHead(...head)
        // Text goes with the head in one write.
        response.end(Buffer.concat(parts).toString('latin1'), 'latin1')
      },
      onResponseError: () => void response.destroy(),
    }
    dispatcher.dispatch({ origin: upstream, path: request.url!, method: 'GET', headers: request.headers }, handler)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { ready: { port: (server.address() as { port: number }).port } }
})
