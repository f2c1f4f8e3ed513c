// A load generator in a process of its own. It shares two cores with the server, the database and itself, so every cycle
// that it takes is one that the server lacks: it writes prepared requests to plain sockets and looks at no more of an
// answer than its status and its length. That is several times cheaper than autocannon, which parses every header;
// wrk would be cheaper still, and is on no machine by default.

import { connect, type Socket } from 'node:net'
import { serve } from './children.ts'

/** What is sent; a body goes as JSON. */
export interface LoadRequest {
  readonly method?: string
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: object
}

export interface Load {
  readonly port: number
  readonly connections: number
  readonly milliseconds: number
  /** Where it ends earlier, after so many requests. */
  readonly requests?: number
}

export interface LoadResult {
  readonly requests: number
  readonly perSecond: number
  /** Milliseconds within which 99 of 100 requests were answered. */
  readonly p99: number
}

/** Latencies are counted in steps of 20 µs, up to 200 ms. */
const STEP = 0.02
const STEPS = 10_000

await serve<{ requests: LoadRequest[] }>(async (options) => {
  const requests = options.requests.map(prepared)
  let turn = 0

  return {
    async answer({ port, connections, milliseconds, requests: most = Infinity }: Load): Promise<LoadResult> {
      const latencies = new Uint32Array(STEPS)
      const sockets = await Promise.all(Array.from({ length: connections }, () => opened(port)))
      const started = performance.now()
      const until = started + milliseconds
      let sent = 0
      let count = 0
      await Promise.all(
        sockets.map((socket) =>
          exchange(socket, {
            next: () => (sent++ < most && performance.now() < until ? requests[turn++ % requests.length] : undefined),
            took(latency) {
              count++
              latencies[Math.min(STEPS - 1, Math.floor(latency / STEP))]!++
            },
          }),
        ),
      )
      const seconds = (performance.now() - started) / 1000
      for (const socket of sockets) socket.destroy()
      return { requests: count, perSecond: count / seconds, p99: quantile(latencies, 0.99 * count) }
    },
  }
})

function prepared({ method = 'GET', path, headers, body }: LoadRequest): Buffer {
  const json = body && JSON.stringify(body)
  const type = json && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(json)) }
  const lines = Object.entries({ host: '127.0.0.1', ...headers, ...type }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${json ?? ''}`)
}

function quantile(counts: Uint32Array, wanted: number): number {
  let seen = 0
  const step = counts.findIndex((count) => (seen += count) >= wanted)
  return (step + 1) * STEP
}

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket)).once('error', reject)
  })
}

/** One request after the other on one connection, until `next` has none. */
function exchange(
  socket: Socket,
  use: { next: () => Buffer | undefined; took: (milliseconds: number) => void },
): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0
    let received: Buffer = Buffer.alloc(0)
    const send = () => {
      const request = use.next()
      if (!request) return resolve()
      sent = performance.now()
      socket.write(request)
    }
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('The server closed a connection.')))
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      const end = received.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = received.toString('latin1', 0, end)
      const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
      if (!/^HTTP\/1.1 20[01]/.test(head) || length === undefined)
        return reject(new Error(`Not a good answer: ${head}`))
      if (received.length < end + 4 + Number(length)) return
      received = Buffer.alloc(0)
      use.took(performance.now() - sent)
      send()
    })
    send()
  })
}
