// How long answers may take: `x-seam-timeout`, which a process of the system may send, makes the deadline short.
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { until } from '../../../support/until.ts'
import { bootWith, moduleOf } from '../boot.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const DEADLINE = 300
/** Beyond the deadline, in steps of 50 ms. */
const STEPS = 14

const { build } = await bootWith(t)
const desk = defineContract('streams-desk', { routes: ['/api/desk'] })
const stream = { config: { allow: 'anyone', stream: true } } as const
const anyone = { config: { allow: 'anyone' } } as const
let open = 0

async function* slowly() {
  open++
  try {
    for (let n = 1; n <= STEPS; n++) {
      yield `data: ${n}\n\n`
      await sleep(50)
    }
  } finally {
    open--
  }
}
const EVENTS = Array.from({ length: STEPS }, (_, n) => `data: ${n + 1}\n\n`).join('')

const module = moduleOf(desk, (app) => {
  app.get('/api/desk/events', stream, async (_request, reply) =>
    reply.header('content-type', 'text/event-stream; charset=utf-8').send(Readable.from(slowly())),
  )
  app.get('/api/desk/text', anyone, async (_request, reply) =>
    reply.header('content-type', 'text/plain').send(Readable.from(slowly())),
  )
  app.get('/api/desk/never', anyone, () => new Promise(() => {}))
})

const single = await build(t, [module], { SECRET })
const inside = await build(t, [module], { SECRET, EDGE: 'false' })
const STREAMS_DESK_URL = (await inside.listen()).api
const gateway = await build(t, [module], { SECRET, MODULES: 'none', STREAMS_DESK_URL })

const headers = {
  'x-seam-identity': systemTokens(SECRET).identity.sign(desk.name, { identity: null }),
  'x-seam-timeout': String(DEADLINE),
  'accept-encoding': 'br, gzip',
}

for (const [place, app] of [
  ['in one process', single],
  ['through a gateway', gateway],
] as const) {
  t.test(place, async (t) => {
    const { api: url } = await app.listen()

    t.test('events go on beyond the deadline, until they end', async (t) => {
      const began = performance.now()
      const answer = await fetch(`${url}/api/desk/events`, { headers })
      t.equal(answer.status, 200)
      t.equal(answer.headers.get('content-encoding'), null)
      t.equal(await answer.text(), EVENTS)
      t.ok(performance.now() - began > 2 * DEADLINE)
    })

    t.test('an answer of another kind is cut off at the deadline', async (t) => {
      const answer = await fetch(`${url}/api/desk/text`, { headers })
      t.equal(answer.status, 200)
      await t.rejects(answer.text())
      await until('the end of what it was made of', () => open === 0)
    })

    t.test('a route that has not begun to answer is answered for', async (t) => {
      const began = performance.now()
      const answer = await fetch(`${url}/api/desk/never`, { headers })
      t.match(await answer.json(), { status: 503, code: 'DeadlineExceeded', module: 'streams-desk' })
      t.ok(performance.now() - began >= DEADLINE - 20)
    })

    t.test('when a reader of events goes away, so does what they are made of', async (t) => {
      const reading = new AbortController()
      const answer = await fetch(`${url}/api/desk/events`, { headers, signal: reading.signal })
      await answer.body!.getReader().read()
      t.equal(open, 1)
      reading.abort()
      await until('the end', () => open === 0)
    })
  })
}
