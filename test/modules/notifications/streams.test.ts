import { once } from 'node:events'
import fastify from 'fastify'
import t from 'tap'
import { Streams } from '../../../src/modules/notifications/streams.ts'
import { Sweep } from '../../../src/platform/host/sweep.ts'
import { newId } from '../../../src/platform/kit/tables.ts'

t.test('news that could not be read comes a second later', async (t) => {
  const userId = newId()
  const news = { id: newId(), userId, sequence: '1', kind: 'comment', text: 'Well said.', link: null, readAt: null }
  let reads = 0
  const app = {
    db: {
      async execute() {
        if (++reads === 1) throw new Error('The database is away.')
        return reads === 2 ? [news] : []
      },
    },
    sweep({ name, every, run }: { name: string; every: number; run: () => Promise<void> }) {
      const sweep = new Sweep({ name, interval: every, run, log: fastify().log })
      sweep.start()
      t.teardown(() => sweep.stop())
      return sweep
    },
    onSignal() {},
    addHook() {},
  }
  const stream = new Streams(app as never).open(userId, 0).setEncoding('utf8')
  t.teardown(() => stream.destroy())
  let text = ''
  stream.on('data', (chunk) => (text += chunk))
  const signal = AbortSignal.timeout(5_000)
  while (!text.includes('Well said.')) await once(stream, 'data', { signal })
  t.equal(reads >= 2, true)
})
