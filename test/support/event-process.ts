// A process with modules of event-host.ts, for tests that kill it. `DIE` says when it ends itself by SIGKILL:
// `after publishing` an event, before any relay runs; `while handling` one, before the commit; `after handling` one,
// before anybody is told.
import { sql } from '../../src/platform/kit/tables.ts'
import { type Effect, eventHost, writeEffect } from './event-host.ts'

const { MIGRATIONS, HOSTED, DIE } = process.env as Record<string, string>
const die = () => process.kill(process.pid, 'SIGKILL')

const effect: Effect = async (event, handling) => {
  await writeEffect(event, handling)
  if (DIE === 'while handling') {
    die()
    await handling.tx.execute(sql`select pg_sleep(10)`)
  }
  if (DIE === 'after handling') handling.afterCommit(die)
}

const host = await eventHost({
  env: process.env as Record<string, string>,
  migrations: MIGRATIONS!,
  hosted: HOSTED!.split(','),
  effects: { beta: effect, gamma: effect },
})
if (DIE === 'after publishing') {
  await host.publish('k', 1)
  die()
}
await host.start()
console.log('ready')
// As main.ts does: what is closed is closed, and the process ends.
process.on('SIGTERM', () => void host.close().then(() => process.exit(0)))
// Whoever started it has died: nobody else would end it.
process.stdin.resume().on('end', () => process.exit(1))
