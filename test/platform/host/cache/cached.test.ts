import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import pino from 'pino'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { Cached } from '../../../../src/platform/host/cache/cached.ts'
import { MemoryStore } from '../../../../src/platform/host/cache/memory-store.ts'
import { RedisStore } from '../../../../src/platform/host/cache/redis-store.ts'
import type { CacheStore } from '../../../../src/platform/host/cache/store.ts'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { cacheRedis } from '../../../../src/platform/host/redis.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../src/platform/host/rpc/client.ts'
import { serveProcedures } from '../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../src/platform/host/rpc/procedures.ts'
import type { Adapter } from '../../../../src/platform/host/rpc/target.ts'
import type { CallContext } from '../../../../src/platform/kit/call-context.ts'
import { defineContract, query } from '../../../../src/platform/kit/contract.ts'
import { CallFailed, DeadlineExceeded, Unavailable } from '../../../../src/platform/kit/errors.ts'
import { redisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'
import { remoteTo } from '../rpc/remote.ts'

const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' })
const tokens = systemTokens('a secret that only these tests know, of enough length')
const redis = await redisServer()
await redis.start()
t.teardown(() => redis.signal('SIGKILL'))

const Book = Type.Object({ id: Type.String(), n: Type.Integer(), parts: Type.Array(Type.String()) })
const input = Type.Object({ id: Type.String(), page: Type.Optional(Type.Integer()) })
const tags = ({ id }: { id: string }) => [`book:${id}`]
const library = defineContract('library', {
  errors: { NotThere: { status: 404, message: 'There is no such book.' } },
  procedures: {
    find: query({ input, output: Book, throws: ['NotThere'], cache: { ttl: 60, tags } }),
    /** Is old after 50 ms. */
    soon: query({ input, output: Book, throws: ['NotThere'], cache: { ttl: 0.05, tags, staleIfError: 60 } }),
    brief: query({ input, output: Book, timeout: 200, cache: { ttl: 60 } }),
    plain: query({ input, output: Book }),
  },
})
type Input = { id: string; page?: number }
type Handler = (input: Input, context: CallContext) => unknown

/** What stands behind all procedures; each answer has another number. */
class Backend {
  calls = 0
  handle: Handler = ({ id }) => ({ id, n: this.calls, parts: ['a'] })
  readonly procedures = Object.fromEntries(
    Object.keys(library.procedures).map((name) => [
      name,
      (input: Input, context: CallContext) => {
        this.calls++
        return this.handle(input, context)
      },
    ]),
  ) as unknown as Parameters<Procedures['implement']>[1]
}

type Reach = (t: Test, procedures: Procedures) => Promise<Adapter>
const adapters: Record<string, Reach> = {
  local: async (_t, procedures) => procedures,
  http: async (t, procedures) => {
    const server = createServer({ log, trustProxy: true })
    serveProcedures(server, library.name, [{ contract: library, mayCall: () => true }], { procedures, tokens })
    const url = await server.listen({ host: '127.0.0.1', port: 0 })
    const { adapter, close } = remoteTo(library.name, [url], { tokens })
    t.teardown(async () => {
      await close()
      await server.close()
    })
    return adapter
  },
}
const stores: Record<string, () => Promise<CacheStore>> = {
  memory: async () => new MemoryStore(),
  Redis: async () => {
    const client = cacheRedis([redis.url], log)
    await once(client, 'ready')
    await redis.flush()
    return new RedisStore(client, { log, patience: 2_000, pause: 100 })
  },
}
/** As an application has it. */
const hasty = async () => new RedisStore(cacheRedis([redis.url], log), { log })

async function serve(t: Test, reach: Reach, open: () => Promise<CacheStore>, strict = false) {
  const backend = new Backend()
  const procedures = new Procedures({ strict, log })
  procedures.implement(library, backend.procedures)
  const adapter = await reach(t, procedures)
  const store = await open()
  t.teardown(() => store.close())
  const registry = new Registry()
  const cached = new Cached(store, registry)
  const statistics = new CallStatistics(new Registry())
  const client = createClient(library, { caller: 'caller', adapter, strict, statistics, cached })
  const outcomes = async (): Promise<Record<string, number>> => {
    const { values } = await registry.getSingleMetric('seam_cache_total')!.get()
    return Object.fromEntries(values.map(({ labels, value }) => [labels.outcome, value]))
  }
  return { backend, store, cached, adapter, outcomes, ...client }
}

for (const [adapter, reach] of Object.entries(adapters))
  for (const [kind, open] of Object.entries(stores))
    t.test(`${adapter} calls, kept in ${kind}`, async (t) => suite(t, (t, strict) => serve(t, reach, open, strict)))

function suite(t: Test, start: (t: Test, strict?: boolean) => ReturnType<typeof serve>): void {
  for (const strict of [true, false])
    t.test(`1,000 calls at the same time are one call${strict ? ', in strict mode too' : ''}`, async (t) => {
      const { backend, find, outcomes } = await start(t, strict)
      const answers = await Promise.all(Array.from({ length: 1_000 }, () => find({ id: 'a' })))
      t.equal(backend.calls, 1)
      t.strictSame(await outcomes(), { miss: 1, joined: 999 })
      t.strictSame(answers[0], { id: 'a', n: 1, parts: ['a'] })
      t.ok(answers.every((answer) => answer.n === 1))
      t.ok(Object.isFrozen(answers[0]) && Object.isFrozen(answers[0]!.parts), 'which nobody can change for the others')
      const kept = await find({ id: 'a' })
      t.strictSame(kept, answers[0])
      t.ok(Object.isFrozen(kept.parts))
      t.strictSame(await outcomes(), { miss: 1, joined: 999, hit: 1 })
      t.equal(backend.calls, 1)
    })

  t.test('another input is another call, another order of its fields is not', async (t) => {
    const { backend, find } = await start(t)
    const inputs = [{ id: 'a' }, { id: 'b' }, { id: 'a', page: 1 }, { id: 'a', page: 2 }, { page: 2, id: 'a' }]
    for (const input of [...inputs, ...inputs]) t.equal((await find(input)).id, input.id)
    t.equal(backend.calls, 4)
  })

  t.test('errors arrive as they are, and are not kept', async (t) => {
    const { backend, find } = await start(t)
    backend.handle = () => {
      throw new library.errors.NotThere()
    }
    const failed = await Promise.allSettled([find({ id: 'a' }), find({ id: 'a' })])
    for (const outcome of failed)
      t.ok(outcome.status === 'rejected' && outcome.reason instanceof library.errors.NotThere)
    t.equal(backend.calls, 1, 'those at the same time share them')
    backend.handle = () => {
      throw new Error('unheard of')
    }
    await t.rejects(find({ id: 'a' }), new CallFailed('library', 'find'))
    backend.handle = ({ id }) => ({ id, n: 7, parts: [] })
    t.equal((await find({ id: 'a' })).n, 7)
  })

  t.test('an answer that is not what the contract says is none', async (t) => {
    const { backend, find } = await start(t)
    backend.handle = () => ({ id: 'a' })
    await t.rejects(find({ id: 'a' }), new CallFailed('library', 'find'))
    await t.rejects(find({ id: 'a' }), new CallFailed('library', 'find'))
    t.equal(backend.calls, 2)
  })

  t.test('who comes after an answer was outdated does not join a call that was made before', async (t) => {
    const { backend, store, find } = await start(t)
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    backend.handle = async ({ id }) => {
      const n = backend.calls
      await gates[n - 1]?.promise
      return { id, n, parts: [] }
    }
    const before = find({ id: 'a' })
    await until('the first call', () => backend.calls === 1)
    await store.outdate(['library:book:a'])
    const after = find({ id: 'a' })
    await until('the second call', () => backend.calls === 2)
    gates[1]!.resolve()
    t.equal((await after).n, 2)
    gates[0]!.resolve()
    t.equal((await before).n, 1)
    // The older answer, which came last, may have driven out the newer one. It is never believed.
    for (let n = 0; n < 20; n++) {
      t.ok((await find({ id: 'a' })).n > 1)
      await nextTurn()
    }
    const { n } = await find({ id: 'a' })
    await store.outdate(['library:book:b'])
    t.equal((await find({ id: 'a' })).n, n, 'another book is another one')
    await store.outdate(['library'])
    t.equal((await find({ id: 'a' })).n, n + 1, 'all books are this one, too')
  })

  t.test('who leaves first takes nobody along, and nobody is told who asked', async (t) => {
    const { backend, find } = await start(t)
    const gate = Promise.withResolvers<void>()
    let seen: CallContext | undefined
    backend.handle = async ({ id }, context) => {
      seen = context
      await gate.promise
      return { id, n: 1, parts: [] }
    }
    const impatient = new RequestContext({ requestId: 'impatient', timeout: 100 })
    impatient.identity = { userId: 'ada', roles: [], sessionId: 's' }
    const first = impatient.run(() => find({ id: 'a' }))
    const second = find({ id: 'a' })
    await t.rejects(first, new DeadlineExceeded('library'))
    t.equal(seen!.signal.aborted, false)
    gate.resolve()
    t.equal((await second).n, 1)
    t.equal(seen!.identity, null)
    t.equal(seen!.requestId, 'impatient', 'whose trace it is')
    t.equal(backend.calls, 1)
    impatient.end()
  })

  t.test('a call that hangs is joined until its own deadline, and then made again', async (t) => {
    const { backend, brief } = await start(t)
    backend.handle = () => new Promise(() => {})
    const failed = await Promise.allSettled([brief({ id: 'a' }), brief({ id: 'a' })])
    for (const outcome of failed) t.ok(outcome.status === 'rejected' && outcome.reason instanceof DeadlineExceeded)
    backend.handle = ({ id }) => ({ id, n: 2, parts: [] })
    await until('another call', () =>
      brief({ id: 'a' }).then(
        ({ n }) => n === 2,
        () => false,
      ),
    )
  })

  t.test('an old answer stands in where the module is away', async (t) => {
    const { backend, soon, outcomes } = await start(t)
    t.equal((await soon({ id: 'a' })).n, 1)
    backend.handle = () => {
      throw new Unavailable('library')
    }
    await until('an old answer', async () => {
      t.equal((await soon({ id: 'a' })).n, 1)
      return (await outcomes()).stale
    })
    backend.handle = () => {
      throw new Error('unheard of')
    }
    t.equal((await soon({ id: 'a' })).n, 1, 'or has failed')
    backend.handle = () => {
      throw new library.errors.NotThere()
    }
    await t.rejects(soon({ id: 'a' }), new library.errors.NotThere(), 'but not where it has answered')
    backend.handle = ({ id }) => ({ id, n: 100, parts: [] })
    t.equal((await soon({ id: 'a' })).n, 100, 'and not where there is a new one')
    await t.rejects(async () => {
      backend.handle = () => {
        throw new Unavailable('library')
      }
      await soon({ id: 'another' })
    }, new Unavailable('library'))
  })

  t.test('before the time of the caller is over, when the module hangs', async (t) => {
    const { backend, soon, outcomes } = await start(t)
    t.equal((await soon({ id: 'a' })).n, 1)
    backend.handle = () => new Promise(() => {})
    await until('an old answer', async () => {
      t.equal((await soon({ id: 'a' }, { timeout: 500 })).n, 1)
      return (await outcomes()).stale
    })
  })

  t.test('but not one that was outdated', async (t) => {
    const { backend, store, soon } = await start(t)
    await soon({ id: 'a' })
    await store.outdate(['library:book:a'])
    backend.handle = () => {
      throw new Unavailable('library')
    }
    await t.rejects(soon({ id: 'a' }), new Unavailable('library'))
  })

  t.test('what weighs more than 1 MiB is not kept', async (t) => {
    const { backend, find } = await start(t)
    backend.handle = ({ id }) => ({ id, n: backend.calls, parts: ['x'.repeat(1024 * 1024)] })
    t.equal((await find({ id: 'a' })).n, 1)
    await until('the next call', async () => (await find({ id: 'a' })).n === 2)
  })

  t.test('an answer that was kept for another shape of the contract is none', async (t) => {
    const { backend, store, find } = await start(t)
    const { throws: _, ...rest } = library.procedures.find
    const before = defineContract('library', {
      procedures: { find: query({ ...rest, output: Type.Object({ id: Type.String() }) }) },
    })
    let calls = 0
    const procedures = new Procedures({ strict: false, log })
    procedures.implement(before, { find: () => ({ id: `${++calls}` }) })
    const old = createClient(before, {
      caller: 'caller',
      adapter: procedures,
      strict: false,
      statistics: new CallStatistics(new Registry()),
      cached: new Cached(store, new Registry()),
    })
    await until('a process of before has kept one', async () => {
      const made = calls
      await old.find({ id: 'a' })
      return calls === made
    })
    backend.handle = ({ id }) => ({ id, n: 5, parts: [] })
    t.equal((await find({ id: 'a' })).n, 5)
  })

  t.test('where the contract declares no cache, nothing comes in between', async (t) => {
    const { backend, plain, cached, adapter } = await start(t)
    const target = adapter.target('caller', library, 'plain')
    t.equal(cached.target('caller', library, 'plain', target), target)
    await plain({ id: 'a' })
    await plain({ id: 'a' })
    t.equal(backend.calls, 2)
  })
}

t.test('while Redis hangs or is dead, calls are made as if there were no cache, and nobody waits for it', async (t) => {
  const { backend, find, outcomes } = await serve(t, adapters.http!, hasty)
  const isKept = async () => {
    const before = backend.calls
    await find({ id: 'a' })
    return backend.calls === before
  }
  await until('the cache', isKept)
  for (const fault of ['SIGSTOP', 'SIGKILL'] as const) {
    await redis.signal(fault)
    const [calls, { off = 0 }] = [backend.calls, await outcomes()]
    const slowest: number[] = []
    for (let n = 0; n < 50; n++) {
      const began = performance.now()
      t.equal((await find({ id: 'a' })).id, 'a')
      slowest.push(performance.now() - began)
    }
    slowest.sort((a, b) => a - b)
    t.ok(slowest[25]! < 25, `${fault}: half of the calls took less than ${slowest[25]} ms`)
    t.ok(slowest[49]! < 1_000, `the slowest ${slowest[49]} ms`)
    t.equal(backend.calls - calls, 50)
    t.equal((await outcomes()).off! - off, 50, 'which can be seen')
    if (fault === 'SIGSTOP') await redis.signal('SIGCONT')
    else await redis.start()
    await until('the cache', isKept)
  }
})

t.test('and then, too, those who ask in the same turn are answered by one call', async (t) => {
  const { backend, find } = await serve(t, adapters.http!, hasty)
  await redis.signal('SIGKILL')
  t.teardown(() => redis.start())
  const answers = await Promise.all(Array.from({ length: 1_000 }, () => find({ id: 'a' })))
  t.equal(answers.length, 1_000)
  t.ok(backend.calls < 10, `${backend.calls} calls`)
})

t.test('and then, too, the handler is not told who asks', async (t) => {
  const { backend, find } = await serve(t, adapters.local!, hasty)
  await redis.signal('SIGKILL')
  t.teardown(() => redis.start())
  let seen: CallContext | undefined
  backend.handle = ({ id }, context) => {
    seen = context
    return { id, n: 1, parts: [] }
  }
  const context = new RequestContext({ requestId: 'mine' })
  context.identity = { userId: 'ada', roles: [], sessionId: 's' }
  await context.run(() => find({ id: 'a' }))
  t.equal(seen!.identity, null)
  t.equal(seen!.requestId, 'mine')
  t.ok(seen!.deadline <= context.deadline + 1)
  context.end()
})
