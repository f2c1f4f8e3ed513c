import { Agent } from 'undici'

/** What became of the requests of a load. */
export interface Outcome {
  requests: number
  seconds: number
  /** Requests without the answer that was due, by what they got instead. */
  lost: Map<string, number>
  /** The titles of posts whose writing was answered with 201. */
  written: Set<string>
  /** And those of which it is not known. */
  unknown: Set<string>
  /** The longest wait for an answer, in milliseconds. */
  slowest: number
}

/**
 * Reads and writes posts over TLS on connections that are kept, one write in ten, none with an idempotency key, until the
 * work is done and enough has been asked.
 *
 * @param options.least how many requests there are at least
 * @param options.longest after how many milliseconds it ends at the latest
 * @throws what the work rejects with
 */
export async function underLoad(
  url: string,
  options: { token: string; post: string; least: number; longest?: number; callers?: number },
  work: () => Promise<void>,
): Promise<Outcome> {
  const { token, post, least, longest = 480_000, callers = 24 } = options
  // Half of them speak HTTP/1.1, the others HTTP/2.
  const agents = [false, true].map(
    (allowH2) =>
      new Agent({ allowH2, connections: callers / 2, pipelining: 1, headersTimeout: 30_000, bodyTimeout: 30_000 }),
  )
  const outcome: Outcome = {
    requests: 0,
    seconds: 0,
    lost: new Map(),
    written: new Set(),
    unknown: new Set(),
    slowest: 0,
  }
  const began = performance.now()
  let working = true
  let asked = 0
  const going = () => performance.now() - began < longest && (working || outcome.requests < least)
  const ask = async (agent: Agent, write: boolean) => {
    const title = `${began}-${asked}`
    const at = performance.now()
    const result = await agent
      .request({
        origin: url,
        path: write ? '/api/posts' : `/api/posts/${post}`,
        method: write ? 'POST' : 'GET',
        headers: { authorization: `Bearer ${token}`, ...(write && { 'content-type': 'application/json' }) },
        body: write ? JSON.stringify({ title, content: 'x' }) : null,
      })
      .then(async ({ statusCode, body }) => {
        const text = await body.text()
        return statusCode === (write ? 201 : 200) ? 'good' : `${statusCode} ${text.slice(0, 160)}`
      })
      .catch((error) => error.code ?? String(error))
    outcome.requests++
    outcome.slowest = Math.max(outcome.slowest, performance.now() - at)
    if (result === 'good') {
      if (write) outcome.written.add(title)
      return
    }
    const what = `${write ? 'POST' : 'GET'}: ${result}`
    outcome.lost.set(what, (outcome.lost.get(what) ?? 0) + 1)
    if (write) outcome.unknown.add(title)
  }
  const caller = async (agent: Agent) => {
    while (going()) await ask(agent, asked++ % 10 === 0)
  }
  const loads = Array.from({ length: callers }, (_, nth) => caller(agents[nth % 2]!))
  try {
    await work()
  } finally {
    working = false
    await Promise.all(loads)
    await Promise.all(agents.map((agent) => agent.close()))
  }
  outcome.seconds = (performance.now() - began) / 1_000
  return outcome
}
