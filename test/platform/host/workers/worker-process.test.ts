import cluster from 'node:cluster'
import { join } from 'node:path'
import t from 'tap'
import { WorkerProcess } from '../../../../src/platform/host/workers/worker-process.ts'

const QUESTION = { method: 'GET', url: '/metrics', headers: {}, body: '' }

t.test('a worker that is asked while it ends says so, and goes on ending', async (t) => {
  cluster.setupPrimary({ exec: join(import.meta.dirname, 'fixtures/closing-worker.ts') })
  const worker = new WorkerProcess(1, {})
  t.teardown(() => worker.kill('SIGKILL'))
  await worker.ready
  t.match(await worker.ask(QUESTION, 5_000), { status: 503, body: /ending/ })
  t.equal((await worker.ask(QUESTION, 5_000))?.status, 503, 'it still runs')

  worker.kill('SIGKILL')
  await worker.ended
  t.equal(await worker.ask(QUESTION, 5_000), undefined, 'one that has ended is not waited for')
})

t.test('a worker that ends while it is asked is not waited for', async (t) => {
  const worker = new WorkerProcess(2, {})
  t.teardown(() => worker.kill('SIGKILL'))
  await worker.ready
  worker.kill('SIGSTOP')
  const asked = worker.ask(QUESTION, 60_000)
  worker.kill('SIGKILL')
  t.equal(await asked, undefined)
})
