// A process with the module of shop.ts, which buyers in other processes may call, for tests that kill it. `DIE` says when it ends itself by SIGKILL in its first
// order: `before the commit`, or `before the answer`.
import pino from 'pino'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { sql } from '../../src/platform/kit/tables.ts'
import { buyerModule } from './buyer.ts'
import { shopModule } from './shop.ts'

const { DIE } = process.env
const die = () => process.kill(process.pid, 'SIGKILL')

const module = shopModule({
  async during(_name, tx) {
    if (DIE !== 'before the commit') return
    die()
    await tx.execute(sql`select pg_sleep(10)`)
  },
  async afterwards() {
    if (DIE !== 'before the answer') return
    die()
    await new Promise(() => {})
  },
})
const app = await buildApp(readConfig(process.env, [module, buyerModule('buyer').module]), pino({ level: 'warn' }))
const { api } = await app.listen()
console.log(`ready at ${api}`)
process.on('SIGTERM', () => void app.close().then(() => process.exit(0)))
// Whoever started it has died: nobody else would end it.
process.stdin.resume().on('end', () => process.exit(1))
