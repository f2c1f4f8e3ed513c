// Commands that take effect once for each idempotency key, however they travel.
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { SeamError } from '../../../../src/platform/kit/errors.ts'
import { buyerModule } from '../../../support/buyer.ts'
import { type Interference, provideShop, shop, shopModule } from '../../../support/shop.ts'
import { startTopology } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'
import { bootWith } from '../boot.ts'

const { env: state, sql } = await bootWith(t)
await provideShop(state.DATABASE_URL!)

const WAYS = {
  local: { outside: [], env: {} },
  http: { outside: [shop.name], env: { RPC: 'http' } },
  grpc: { outside: [shop.name], env: { RPC: 'grpc' } },
}

const ordersOf = async (name: string) => (await sql`select id from shop.orders where name = ${name}`).length

/** What a call was rejected with. */
const refusal = async (call: Promise<unknown>) => {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  return error instanceof SeamError ? `${error.status} ${error.module} ${error.code}` : String(error)
}

/** Makes a call as part of a request of a user. */
const by = <T>(userId: string, call: () => Promise<T>) => {
  const request = new RequestContext()
  request.identity = { userId, roles: [], sessionId: userId }
  return request.run(call).finally(() => request.end())
}

for (const [way, placement] of Object.entries(WAYS)) {
  t.test(way, async (t) => {
    let now: Interference = {}
    /** What happens in the middle of the work until the test ends. */
    const interfere = (t: Test, interference: Interference) => {
      now = interference
      t.teardown(() => {
        now = {}
      })
    }
    const [buying, selling] = [buyerModule('buyer'), buyerModule('seller')]
    const shopping = shopModule({
      during: async (name, tx) => now.during?.(name, tx),
      afterwards: () => now.afterwards?.(),
    })
    const topology = await startTopology({ ...placement, catalogue: [shopping, buying.module, selling.module], state })
    t.teardown(() => topology.close())
    const [buyer, seller] = [buying.client(), selling.client()]

    t.test('the same key and input get the first result again, and nothing is done anew', async (t) => {
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      const first = await buyer.order({ name, note: 'blue' }, { idempotencyKey })
      t.strictSame(await buyer.order({ name, note: 'blue' }, { idempotencyKey }), first)
      t.strictSame(await buyer.order({ note: 'blue', name }, { idempotencyKey }), first, 'fields have no order')
      t.equal(await ordersOf(name), 1)
    })

    t.test('without a key it is done each time', async (t) => {
      const name = randomUUID()
      const [one, two] = [await buyer.order({ name }), await buyer.order({ name })]
      t.not(one.id, two.id)
      t.equal(await ordersOf(name), 2)
    })

    t.test('a key that came with another input is refused, and goes on to be good for the first', async (t) => {
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      const first = await buyer.order({ name }, { idempotencyKey })
      for (const input of [{ name: `${name}!` }, { name, note: '' }])
        t.equal(await refusal(buyer.order(input, { idempotencyKey })), '422 shop IdempotencyKeyReused')
      t.strictSame(await buyer.order({ name }, { idempotencyKey }), first)
      t.strictSame([await ordersOf(name), await ordersOf(`${name}!`)], [1, 0])
    })

    t.test('each calling module, and each user, has keys of their own', async (t) => {
      const [name, idempotencyKey, ada, bob] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
      const calls = [
        () => buyer.order({ name }, { idempotencyKey }),
        () => seller.order({ name }, { idempotencyKey }),
        () => by(ada, () => buyer.order({ name }, { idempotencyKey })),
        () => by(bob, () => buyer.order({ name }, { idempotencyKey })),
      ]
      const results = await Promise.all(calls.map((call) => call()))
      t.equal(new Set(results.map(({ id }) => id)).size, calls.length)
      t.strictSame(await Promise.all(calls.map((call) => call())), results)
      t.equal(await ordersOf(name), calls.length)
    })

    t.test('of twenty that come at once one is done, and all get its result', async (t) => {
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      const results = await Promise.all(Array.from({ length: 20 }, () => buyer.order({ name }, { idempotencyKey })))
      t.equal(new Set(results.map(({ id }) => id)).size, 1)
      t.equal(await ordersOf(name), 1)
    })

    t.test('an error of the contract leaves nothing behind, and it may be tried again', async (t) => {
      let left = 0
      interfere(t, {
        during: async () => {
          if (left === 0) throw new shop.errors.SoldOut()
        },
      })
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      for (let n = 0; n < 2; n++) t.equal(await refusal(buyer.order({ name }, { idempotencyKey })), '409 shop SoldOut')
      t.equal(await ordersOf(name), 0)
      left = 1
      const done = await buyer.order({ name }, { idempotencyKey })
      left = 0
      t.strictSame(await buyer.order({ name }, { idempotencyKey }), done, 'what was done stays done')
      t.equal(await ordersOf(name), 1)
    })

    t.test('what was committed when its caller had gone is what a repetition gets', async (t) => {
      const answer = Promise.withResolvers<void>()
      interfere(t, { afterwards: () => answer.promise })
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      const gone = refusal(buyer.order({ name }, { idempotencyKey, timeout: 500 }))
      await until('the order is committed', () => ordersOf(name))
      t.equal(await gone, '503 shop DeadlineExceeded')
      answer.resolve()
      const { id } = await buyer.order({ name }, { idempotencyKey })
      t.strictSame([...(await sql`select id from shop.orders where name = ${name}`)], [{ id }])
    })

    t.test('what its caller gave up before the commit was not done, and is done by the repetition', async (t) => {
      let begun = false
      const gate = Promise.withResolvers<void>()
      t.teardown(() => gate.resolve())
      interfere(t, {
        during: async () => {
          if (begun) return
          begun = true
          await gate.promise
        },
      })
      const [name, idempotencyKey] = [randomUUID(), randomUUID()]
      t.equal(await refusal(buyer.order({ name }, { idempotencyKey, timeout: 200 })), '503 shop DeadlineExceeded')
      const repeated = buyer.order({ name }, { idempotencyKey })
      gate.resolve()
      const { id } = await repeated
      t.strictSame([...(await sql`select id from shop.orders where name = ${name}`)], [{ id }])
    })
  })
}
