import t from 'tap'
import { apiSuite } from '../api/suite.ts'
import { startSmtp } from '../support/smtp.ts'
import { startTopology } from '../support/topology.ts'

/** Every way to place the three modules: which run outside the main process, each in one of its own. */
export const PLACEMENTS: readonly (readonly string[])[] = [
  [],
  ['users'],
  ['posts'],
  ['notifications'],
  ['users', 'posts'],
  ['users', 'notifications'],
  ['posts', 'notifications'],
  ['users', 'posts', 'notifications'],
]

const SECRET = 'the secret of a placement, of enough length'

/** What a placement is called in the names of tests. */
export const nameOf = (outside: readonly string[]): string =>
  outside.length === 0
    ? 'one process'
    : outside.length === 3
      ? 'a gateway before three services'
      : `${outside.join(' and ')} outside`

type Queue = 'postgres' | 'redis'

/**
 * What carries the calls. What carries the events has nothing to do with it, so the two are not multiplied: each placement
 * is tested with both kinds of calls and with both kinds of queues, in two runs.
 */
const rpcOf = (outside: readonly string[], queue: Queue): 'http' | 'grpc' =>
  (outside.length % 2 === 0) === (queue === 'postgres') ? 'http' : 'grpc'

/**
 * Runs the API suite in placements of the modules, with one kind of queue. There are several files of them, because test
 * files run side by side.
 */
export async function testPlacements(queue: Queue, placements: typeof PLACEMENTS): Promise<void> {
  t.setTimeout(580_000)
  // Half of the time one waits for passwords, mails and databases.
  t.jobs = 2
  for (const outside of placements) {
    const rpc = rpcOf(outside, queue)
    const name = `${nameOf(outside)}, queues on ${queue}, calls by ${rpc}`
    void t.test(name, { buffered: true, timeout: 150_000 }, async (t) => {
      const smtp = await startSmtp()
      t.teardown(() => smtp.close())
      const topology = await startTopology({
        outside,
        queue,
        emptyDatabase: true,
        env: { SMTP_URL: smtp.url, SECRET, RPC: rpc },
      })
      t.teardown(() => topology.close())
      await apiSuite(t, { url: topology.url, smtp, secret: SECRET, operate: topology.operate })
    })
  }
}
