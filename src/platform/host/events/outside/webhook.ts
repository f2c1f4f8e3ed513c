import { createHmac } from 'node:crypto'
import { Agent } from 'undici'
import { jsonOf } from './cloud-event.ts'
import { NotNow, NotYet, type Outside, PATIENCE } from './outside.ts'
import type { WebhookRule } from './webhook-rules.ts'

/** Requests of one module's events that a process has under way at a time. */
const CONCURRENCY = 10
/** The most that is read of an answer, in bytes; nobody needs its words. */
const ANSWER = 64 * 1024
/** The longest that an endpoint may ask us to wait, in seconds. */
const LONGEST = 86_400
/** The attempts that Standard Webhooks proposes, over three days, in seconds. */
const MINUTE = 60
const HOUR = 60 * MINUTE
const PAUSES = [5, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]

/**
 * Posts events to somebody's URL: each a CloudEvent in JSON, signed by Standard Webhooks
 * (https://www.standardwebhooks.com). Any 2xx accepts it. Redirects are not followed.
 *
 * @param pauses seconds between attempts, for tests
 */
export function webhook({ name, url, events, secret }: WebhookRule, pauses: readonly number[] = PAUSES): Outside {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const agent = new Agent({
    connect: { timeout: PATIENCE },
    connections: CONCURRENCY,
    headersTimeout: PATIENCE,
    bodyTimeout: PATIENCE,
    maxResponseSize: ANSWER,
  })
  const closed = new AbortController()
  const { origin, pathname, search } = new URL(url)
  const patterns = events.map(patternOf)
  return {
    name: `webhook:${name}`,
    concurrency: CONCURRENCY,
    pauses,
    wants: (event) => patterns.some((pattern) => pattern.test(event)),
    isReady: () => !closed.signal.aborted,
    onReady() {},
    async open() {},
    async handOver(event) {
      const body = jsonOf(event)
      const timestamp = String(Math.floor(Date.now() / 1000))
      const signature = createHmac('sha256', key).update(`${event.id}.${timestamp}.${body}`).digest('base64')
      const request = agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: {
          'content-type': 'application/cloudevents+json; charset=utf-8',
          'user-agent': 'seam',
          'webhook-id': event.id,
          'webhook-timestamp': timestamp,
          'webhook-signature': `v1,${signature}`,
          ...(event.traceparent !== null && { traceparent: event.traceparent }),
        },
        body,
        signal: AbortSignal.any([closed.signal, AbortSignal.timeout(PATIENCE)]),
      })
      const answer = await request.catch((error) => {
        throw closed.signal.aborted ? new NotNow('The process ends.', { cause: error }) : error
      })
      const { statusCode: status } = answer
      // The status has decided already.
      await answer.body.dump({ limit: ANSWER }).catch(() => {})
      if (status >= 200 && status < 300) return
      const words = `The endpoint answered ${status}.`
      const seconds = secondsOf([answer.headers['retry-after']].flat()[0])
      throw seconds > 0 ? new NotYet(words, seconds) : new Error(words)
    },
    async close() {
      closed.abort()
      await agent.destroy()
    },
  }
}

const patternOf = (text: string): RegExp => new RegExp(`^${text.replaceAll('.', '\\.').replaceAll('*', '.*')}$`)

/** `Retry-After` as seconds from now; 0 when it says nothing. */
function secondsOf(header: string | undefined): number {
  if (header === undefined) return 0
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000
  return seconds > 0 ? Math.min(seconds, LONGEST) : 0
}
