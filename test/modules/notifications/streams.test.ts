import { once } from 'node:events'
import type { Readable } from 'node:stream'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { Streams } from '../../../src/modules/notifications/streams.ts'
import { Sweep } from '../../../src/platform/host/sweep.ts'
import { newId } from '../../../src/platform/kit/tables.ts'
import { until } from '../../support/until.ts'

const somebody = () => ({ userId: newId(), roles: [], sessionId: newId() })

/** Streams of one process that reads from what a test says; `wake` does the work of a sweep at once. */
function streamsOn(
  t: Test,
  {
    execute = async () => [],
    underWay = async (ids) => new Set(ids),
  }: {
    execute?: () => Promise<object[]>
    underWay?: (ids: readonly string[]) => Promise<ReadonlySet<string>>
  },
) {
  const { log } = fastify()
  const sweeps = new Map<string, Sweep>()
  const streams = new Streams({
    db: { execute },
    sessions: { underWay },
    sweep({ name, every, run }: { name: string; every: number; run: () => Promise<void> }) {
      const sweep = new Sweep({ name, interval: every, run, log })
      sweep.start()
      t.teardown(() => sweep.stop())
      sweeps.set(name, sweep)
      return sweep
    },
    onSignal() {},
    addHook() {},
  } as never)
  const open = (who: ReturnType<typeof somebody>): Readable => {
    const stream = streams.open(who, 0).setEncoding('utf8')
    t.teardown(() => stream.destroy())
    return stream
  }
  return { open, wake: (name: string) => sweeps.get(name)!.wake() }
}

t.test('news that could not be read comes a second later', async (t) => {
  const ada = somebody()
  const news = { ...ada, id: newId(), sequence: '1', kind: 'comment', text: 'Well said.', link: null, readAt: null }
  const answers = [() => Promise.reject(new Error('The database is away.')), async () => [news]]
  const { open } = streamsOn(t, { execute: async () => answers.shift()?.() ?? [] })
  const stream = open(ada)
  let text = ''
  stream.on('data', (chunk) => (text += chunk))
  const signal = AbortSignal.timeout(5_000)
  while (!text.includes('Well said.')) await once(stream, 'data', { signal })
  t.equal(answers.length, 0)
})

t.test('a stream ends with its session, at the next sign of life', async (t) => {
  const [here, away, bob] = [somebody(), somebody(), somebody()]
  away.userId = here.userId
  const ended = new Set<string>()
  let fails = false
  let beats = 0
  const { open, wake } = streamsOn(t, {
    async underWay(ids) {
      beats++
      if (fails) throw new Error('Redis is away.')
      return new Set(ids).difference(ended)
    },
  })
  const [first, second, third] = [here, away, bob].map((who) => open(who).resume()) as [Readable, Readable, Readable]
  const beat = async () => {
    const before = beats
    wake('heartbeats of streams')
    await until('a sign of life', () => beats > before)
  }
  await beat()
  ended.add(away.sessionId)
  fails = true
  await beat()
  t.strictSame(
    [first, second, third].map(({ readableEnded }) => readableEnded),
    [false, false, false],
    'while sessions cannot be read, streams go on',
  )
  fails = false
  await beat()
  await until('the end', () => second.readableEnded)
  t.strictSame([first.readableEnded, third.readableEnded], [false, false])
})
