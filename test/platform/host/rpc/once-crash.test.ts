// What a command that is repeated finds when the process that did its work has died: real processes, killed by SIGKILL.
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { GRPC_OFFSET } from '../../../../src/platform/host/rpc/grpc/address.ts'
import { Unavailable } from '../../../../src/platform/kit/errors.ts'
import { buyerModule } from '../../../support/buyer.ts'
import { freePorts } from '../../../support/ports.ts'
import { provideShop, shopModule } from '../../../support/shop.ts'
import { startShopProcess } from '../../../support/shop-processes.ts'
import { bootWith } from '../boot.ts'

t.setTimeout(240_000)
const SECRET = 's'.repeat(32)
const { build, env, sql } = await bootWith(t)
await provideShop(env.DATABASE_URL!)

const orders = async (name: string) => [...(await sql`select id, name from shop.orders where name = ${name}`)]

const ports = await freePorts(5, GRPC_OFFSET)

/** A process that serves calls by HTTP and by gRPC. */
const startShop = async (DIE = '') => {
  const port = ports.pop()
  return startShopProcess(t, { ...env, SECRET, RPC: 'grpc', DIE, PORT: String(port), EDGE: 'false' })
}
/** What a process that calls the shops at these addresses calls them with. */
const startBuyer = async (t: Test, RPC: string, ...urls: string[]) => {
  const buyer = buyerModule('buyer')
  await build(t, [shopModule(), buyer.module], { MODULES: 'buyer', SHOP_URL: urls.join(','), RPC, SECRET })
  return buyer.client()
}

// All at once, which is faster than one after the other.
const [well, dyingByHttp, dyingByGrpc, dyingBeforeCommit, dyingUnnoticed] = await Promise.all([
  startShop(),
  startShop('before the answer'),
  startShop('before the answer'),
  startShop('before the commit'),
  startShop('before the answer'),
])

for (const [RPC, dying] of [
  ['http', dyingByHttp],
  ['grpc', dyingByGrpc],
] as const) {
  t.test(`${RPC}: killed between the commit and the answer: the repetition gets the first result`, async (t) => {
    const [buyer, replica] = await Promise.all([startBuyer(t, RPC, dying.url), startBuyer(t, RPC, well.url)])
    const [name, idempotencyKey] = [randomUUID(), randomUUID()]
    await t.rejects(buyer.order({ name }, { idempotencyKey }), Unavailable)
    t.strictSame(await dying.exit, [null, 'SIGKILL'])
    const done = await orders(name)
    t.equal(done.length, 1)
    t.strictSame([await replica.order({ name }, { idempotencyKey })], done)
    t.strictSame(await orders(name), done, 'there is one effect')
  })
}

t.test('killed before the commit: nothing was done, and the repetition does it', async (t) => {
  const dying = dyingBeforeCommit
  const [buyer, replica] = await Promise.all([startBuyer(t, 'http', dying.url), startBuyer(t, 'http', well.url)])
  const [name, idempotencyKey] = [randomUUID(), randomUUID()]
  await t.rejects(buyer.order({ name }, { idempotencyKey }), Unavailable)
  t.strictSame(await dying.exit, [null, 'SIGKILL'])
  t.strictSame(await orders(name), [])
  const done = await replica.order({ name }, { idempotencyKey })
  t.strictSame(await orders(name), [done])
})

t.test('a call with a key outlives the instance that has done it', async (t) => {
  const dying = dyingUnnoticed
  const buyer = await startBuyer(t, 'http', dying.url, well.url)
  let dead = false
  void dying.exit.then(() => {
    dead = true
  })
  // The balancer draws one of the two each time.
  for (let n = 0; n < 100 && !dead; n++) {
    const name = randomUUID()
    const done = await buyer.order({ name }, { idempotencyKey: randomUUID() })
    t.strictSame(await orders(name), [done])
  }
  t.strictSame(await dying.exit, [null, 'SIGKILL'])
})
