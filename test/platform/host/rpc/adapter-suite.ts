import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import { Type } from 'typebox'

import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { MAX_INPUT, MAX_OUTPUT } from '../../../../src/platform/host/rpc/wire.ts'
import type { CallContext } from '../../../../src/platform/kit/call-context.ts'
import {
  type Client,
  type Contract,
  command,
  defineContract,
  type Implementation,
  query,
} from '../../../../src/platform/kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  Divergence,
  SeamError,
  Unavailable,
} from '../../../../src/platform/kit/errors.ts'
import type { Identity } from '../../../../src/platform/kit/permissions.ts'

/** An adapter as the suite sees it: real on both ends, and nothing shared between two that are served. */
export interface AdapterUnderTest {
  readonly name: string
  readonly strict: boolean
  /** Serves a contract until the test ends, and calls it as the module `caller` would. */
  serve<C extends Contract>(t: Test, contract: C, implementation: Implementation<C, CallContext>): Promise<Served<C>>
  /** A client of a contract that nobody serves. */
  unreachable<C extends Contract>(t: Test, contract: C): Client<C>
}

export interface Served<C extends Contract> {
  readonly client: Client<C>
  /** What the serving process has written to its log. */
  log(): string
  /** The value of a counter for one procedure, as it is scraped. */
  /** What `seam_calls_total` says of a procedure: all calls, or those that failed. */
  count(what: 'all' | 'failed', procedure: string): Promise<number>
}

const Book = Type.Object({
  id: Type.String(),
  title: Type.String(),
  subtitle: Type.Optional(Type.String()),
  author: Type.Object({ name: Type.String(), born: Type.Union([Type.Integer(), Type.Null()]) }),
  tags: Type.Array(Type.String()),
})

const library = defineContract('library', {
  errors: {
    NotThere: { status: 404, message: 'There is no such book.' },
    Taken: {
      status: 409,
      message: 'Somebody has it.',
      details: Type.Object({ by: Type.String(), days: Type.Integer() }),
    },
    Unnamed: { status: 418, message: 'The roof leaks.' },
  },
  procedures: {
    find: query({ input: Type.Object({ id: Type.String({ minLength: 1 }) }), output: Book, throws: ['NotThere'] }),
    lend: command({
      input: Type.Object({
        id: Type.String(),
        to: Type.Object({ name: Type.String(), age: Type.Integer({ minimum: 0 }) }),
      }),
      output: Type.Object({ due: Type.String() }),
      throws: ['NotThere', 'Taken'],
    }),
    echo: query({ input: Type.Object({ value: Type.Unknown() }), output: Type.Object({ value: Type.Unknown() }) }),
    burn: command({ input: Type.Object({}), output: Type.Null() }),
    nothing: command({ input: Type.Null(), output: Type.Null() }),
    anything: query({ input: Type.Unknown(), output: Type.Unknown() }),
  },
})

type Library = Implementation<typeof library, CallContext>

const dune = { id: '1', title: 'Dune', author: { name: 'Frank Herbert', born: 1920 }, tags: ['sand'] }

/** A library in which one procedure or another behaves as a test needs it. */
const libraryWith = (own: { [K in keyof Library]?: (...args: any[]) => any } = {}): Library => ({
  find: () => structuredClone(dune),
  lend: () => ({ due: 'tomorrow' }),
  echo: ({ value }) => ({ value }),
  burn: () => null,
  nothing: () => null,
  anything: (input) => input,
  ...own,
})

/** Runs something as part of a request that is over when it is. */
async function inRequest<T>(
  of: { identity?: Identity; requestId?: string; traceparent?: string; timeout?: number },
  work: (context: RequestContext) => Promise<T>,
): Promise<T> {
  const { identity, ...from } = of
  const context = new RequestContext(from)
  context.identity = identity ?? null
  try {
    return await context.run(() => work(context))
  } finally {
    context.end()
  }
}

/** Text that can stand in a test's output. */
const ascii = (value: string) =>
  value.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** What a call was rejected with. */
const errorOf = async (call: Promise<unknown>): Promise<SeamError<any>> => {
  try {
    await call
  } catch (error) {
    return error as SeamError
  }
  throw new Error('The call was expected to fail, and did not.')
}

const never = () => new Promise<never>(() => {})

/** Everything that a caller can observe, which must not depend on the adapter. */
export function adapterSuite(t: Test, adapter: AdapterUnderTest): void {
  const where = `${adapter.name}, ${adapter.strict ? 'strict' : 'not strict'}`
  t.test(where, async (t) => {
    // Deadlines keep no process alive; a listening server does in a real one.
    const alive = setInterval(() => {}, 1_000)
    t.teardown(() => clearInterval(alive))
    results(t, adapter)
    errors(t, adapter)
    inputs(t, adapter)
    deadlines(t, adapter)
    contexts(t, adapter)
    loads(t, adapter)
    if (adapter.strict) strictness(t, adapter)
  })
}

function results(t: Test, adapter: AdapterUnderTest): void {
  t.test('the result of a query and of a command arrives', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith())
    t.strictSame(await client.find({ id: '1' }), dune)
    t.strictSame(await client.lend({ id: '1', to: { name: 'Ada', age: 36 } }), { due: 'tomorrow' })
  })

  t.test('a handler need not be asynchronous', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith({ burn: () => null, find: async () => dune }))
    t.equal(await client.burn({}), null)
    t.strictSame(await client.find({ id: '1' }), dune)
  })

  t.test('an optional field that is missing or undefined is absent on the far side', async (t) => {
    const seen: unknown[] = []
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: () => ({ ...dune, subtitle: undefined }),
        echo: ({ value }) => {
          seen.push(value)
          return { value }
        },
      }),
    )
    const book = await client.find({ id: '1' })
    t.equal(book.subtitle, undefined)
    t.strictSame(JSON.parse(JSON.stringify(book)), dune)
    await client.echo({ value: { there: 1 } })
    t.strictSame(seen, [{ there: 1 }])
  })

  t.test('null arrives as null: alone, in a field, deep inside', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith())
    t.equal(await client.nothing(null), null)
    t.equal(await client.anything(null), null)
    const value = { a: null, b: [null, { c: null, d: [[null]] }] }
    t.strictSame(await client.echo({ value }), { value })
  })

  t.test('text arrives as it is: other scripts, emoji, control characters, half a surrogate pair', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith())
    for (const value of [
      '日本語',
      'Ελληνικά',
      '👩‍👩‍👧',
      'e\u0301',
      '\u0000\u001f\u2028\u2029',
      '"\\/',
      '\ud800',
      '\ufeff',
      '',
    ]) {
      t.equal((await client.echo({ value })).value, value, ascii(value))
    }
  })

  t.test('keys that mean something to JavaScript are only keys', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith())
    for (const text of ['{"__proto__":{"a":1}}', '{"constructor":{"prototype":{"a":1}}}', '{"toString":1,"":2}']) {
      t.strictSame(JSON.stringify((await client.echo({ value: JSON.parse(text) })).value), text)
    }
    t.equal(({} as { a?: unknown }).a, undefined)
  })
}

function errors(t: Test, adapter: AdapterUnderTest): void {
  t.test(
    'an error that the procedure names arrives as the same class with code, status, words and details',
    async (t) => {
      const { client } = await adapter.serve(
        t,
        library,
        libraryWith({
          find: async () => {
            throw new library.errors.NotThere()
          },
          lend: async () => {
            throw new library.errors.Taken({ by: 'Żaneta', days: 3 })
          },
        }),
      )
      const notThere = await errorOf(client.find({ id: '1' }))
      t.equal(notThere.constructor, library.errors.NotThere)
      t.ok(notThere instanceof SeamError)
      const { module, code, status, message, name, details } = notThere
      t.strictSame(
        { module, code, status, message, name, details },
        {
          module: 'library',
          code: 'NotThere',
          status: 404,
          message: 'There is no such book.',
          name: 'NotThere',
          details: undefined,
        },
      )
      const taken = await errorOf(client.lend({ id: '1', to: { name: 'Ada', age: 36 } }))
      t.equal(taken.constructor, library.errors.Taken)
      t.equal(taken.status, 409)
      t.strictSame(taken.details, { by: 'Żaneta', days: 3 })
    },
  )

  t.test('an error thrown before the first await arrives like any other', async (t) => {
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: () => {
          throw new library.errors.NotThere()
        },
        burn: () => {
          throw new TypeError('the matches are in /root/matches')
        },
      }),
    )
    t.equal((await errorOf(client.find({ id: '1' }))).constructor, library.errors.NotThere)
    t.equal((await errorOf(client.burn({}))).constructor, CallFailed)
  })

  t.test('anything else arrives as CallFailed without its words, which are in the log of the module', async (t) => {
    const thrown: unknown[] = [
      new Error('connect to 10.0.0.7 with password hunter2'),
      new library.errors.Unnamed(),
      new SeamError({ module: 'library', code: 'NotThere', status: 200, message: 'hunter2: no member of the class' }),
      'hunter2, a text',
      undefined,
      null,
      42,
    ]
    for (const error of thrown) {
      const served = await adapter.serve(
        t,
        library,
        libraryWith({
          find: () => {
            throw error
          },
        }),
      )
      const failed = await errorOf(served.client.find({ id: '1' }))
      t.equal(failed.constructor, CallFailed, String(error))
      const { module, code, status, message, details } = failed
      t.strictSame(
        { module, code, status, message, details },
        { module: 'library', code: 'CallFailed', status: 500, message: 'library.find failed.', details: undefined },
      )
      if (String(error).includes('hunter2')) t.match(served.log(), 'hunter2')
    }
  })

  t.test('an error with details that JSON cannot say is not taken for silence, and nothing else fails', async (t) => {
    const circle: Record<string, unknown> = {}
    circle.days = circle
    for (const days of [1n, circle]) {
      const served = await adapter.serve(
        t,
        library,
        libraryWith({
          lend: () => {
            throw new library.errors.Taken({ by: 'Ada', days: days as never })
          },
        }),
      )
      const failed = await errorOf(served.client.lend({ id: '1', to: { name: 'Ada', age: 36 } }))
      const isTold = adapter.name !== 'local' && !adapter.strict
      t.equal(failed.code, adapter.strict ? 'Divergence' : isTold ? 'CallFailed' : 'Taken')
      if (isTold)
        t.match(served.log(), /details of Taken are nothing that JSON can say.*"module":"library","procedure":"lend"/)
      t.strictSame(await served.client.find({ id: '1' }), dune)
    }
  })

  t.test('an error that another procedure of the contract names is not expected from this one', async (t) => {
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: () => {
          throw new library.errors.Taken({ by: 'Ada', days: 1 })
        },
      }),
    )
    t.equal((await errorOf(client.find({ id: '1' }))).constructor, CallFailed)
  })

  t.test('a procedure may find faults with its input itself', async (t) => {
    const faults = [{ path: '/id', message: 'is no ISBN' }]
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: () => {
          throw new BadInput('library', faults, 'Look at the ISBN.')
        },
      }),
    )
    const error = await errorOf(client.find({ id: '1' }))
    t.equal(error.constructor, BadInput)
    t.strictSame(
      [error.module, error.status, error.message, error.details],
      ['library', 400, 'Look at the ISBN.', { errors: faults }],
    )
  })

  t.test('that a module further on cannot be reached or is late arrives as such, with its name', async (t) => {
    const archive = defineContract('archive', {
      procedures: { ask: query({ input: Type.Object({}), output: Type.Null() }) },
    })
    const { client: slow } = await adapter.serve(t, archive, { ask: never })
    const missing = adapter.unreachable(t, archive)
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({ find: () => missing.ask({}), burn: () => slow.ask({}, { timeout: 30 }) }),
    )
    const unavailable = await errorOf(client.find({ id: '1' }))
    t.equal(unavailable.constructor, Unavailable)
    t.strictSame([unavailable.module, unavailable.status], ['archive', 503])
    const late = await errorOf(client.burn({}))
    t.equal(late.constructor, DeadlineExceeded)
    t.strictSame([late.module, late.status], ['archive', 503])
  })

  t.test('what a module does wrong with others is not blamed on its caller', async (t) => {
    const archive = defineContract('archive', {
      errors: { Dusty: { status: 409, message: 'Dusty.' } },
      procedures: {
        ask: query({ input: Type.Object({ n: Type.Integer() }), output: Type.Null(), throws: ['Dusty'] }),
      },
    })
    const { client: other } = await adapter.serve(t, archive, {
      ask: ({ n }) => {
        throw n === 1 ? new archive.errors.Dusty() : new Error('?')
      },
    })
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: () => other.ask({ n: 'one' } as never),
        burn: () => other.ask({ n: 1 }),
        echo: () => other.ask({ n: 2 }),
      }),
    )
    // All are waited for at once: whichever fails first may not be one that nobody waits for.
    for (const error of await Promise.all(
      [client.find({ id: '1' }), client.burn({}), client.echo({ value: 1 })].map(errorOf),
    )) {
      t.equal(error.constructor, CallFailed)
      t.equal(error.module, 'library')
    }
  })

  t.test('a module that cannot be reached gives Unavailable', async (t) => {
    const error = await errorOf(adapter.unreachable(t, library).find({ id: '1' }))
    t.equal(error.constructor, Unavailable)
    t.strictSame([error.module, error.status], ['library', 503])
  })
}

function inputs(t: Test, adapter: AdapterUnderTest): void {
  t.test('a bad input is refused with all its faults before anything is sent', async (t) => {
    // Nobody is there: whatever were sent would give Unavailable.
    const client = adapter.unreachable(t, library)
    const error = await errorOf(client.lend({ to: { name: 7, age: -1, shoe: 42 }, extra: true } as never))
    t.equal(error.constructor, BadInput)
    t.strictSame([error.module, error.status], ['library', 400])
    t.match(error.message, 'library.lend')
    t.strictSame(error.details.errors.map(({ path }: { path: string }) => path).sort(), [
      '/extra',
      '/id',
      '/to/age',
      '/to/name',
      '/to/shoe',
    ])
  })

  t.test('what JSON cannot carry is no good input', async (t) => {
    const numbers = defineContract('numbers', {
      procedures: { take: query({ input: Type.Object({ n: Type.Number() }), output: Type.Null() }) },
    })
    const { client } = await adapter.serve(t, numbers, { take: () => null })
    for (const n of [Number.NaN, Number.POSITIVE_INFINITY, 1n, new Date(), undefined, null, '1']) {
      t.equal((await errorOf(client.take({ n } as never))).constructor, BadInput, String(n))
    }
    for (const input of [undefined, null, [], 'text', 1]) {
      t.equal((await errorOf(client.take(input as never))).constructor, BadInput, String(input))
    }
    const { client: any } = await adapter.serve(t, library, libraryWith())
    t.equal((await errorOf(any.anything(undefined))).constructor, BadInput, 'undefined where anything goes')
  })
}

function deadlines(t: Test, adapter: AdapterUnderTest): void {
  const tells = () => {
    const aborted = Promise.withResolvers<boolean>()
    const handler = (_input: unknown, { signal }: CallContext) => {
      signal.addEventListener('abort', () => aborted.resolve(true))
      return never()
    }
    return { handler, aborted: Promise.race([aborted.promise, sleep(2_000, false)]) }
  }

  t.test('a call ends by its own timeout, and the far side hears of it', async (t) => {
    const { handler, aborted } = tells()
    const { client } = await adapter.serve(t, library, libraryWith({ find: handler }))
    const started = performance.now()
    const error = await errorOf(client.find({ id: '1' }, { timeout: 100 }))
    const took = performance.now() - started
    t.equal(error.constructor, DeadlineExceeded)
    t.strictSame([error.module, error.status], ['library', 503])
    t.ok(took >= 90 && took < 1_000, `${took} ms`)
    t.equal(await aborted, true)
  })

  t.test("a call ends by its request's deadline, and the far side hears of it", async (t) => {
    const { handler, aborted } = tells()
    const { client } = await adapter.serve(t, library, libraryWith({ find: handler }))
    const started = performance.now()
    const error = await errorOf(inRequest({ timeout: 100 }, () => client.find({ id: '1' })))
    const took = performance.now() - started
    t.equal(error.constructor, DeadlineExceeded)
    t.ok(took >= 90 && took < 1_000, `${took} ms`)
    t.equal(await aborted, true)
  })

  t.test("a call's timeout cannot make its request last longer", async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith({ find: never }))
    const started = performance.now()
    const error = await errorOf(inRequest({ timeout: 100 }, () => client.find({ id: '1' }, { timeout: 60_000 })))
    t.equal(error.constructor, DeadlineExceeded)
    t.ok(performance.now() - started < 1_000)
  })

  t.test('a timeout of one call leaves the request its time', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith({ find: never }))
    await inRequest({ timeout: 5_000 }, async () => {
      t.equal((await errorOf(client.find({ id: '1' }, { timeout: 50 }))).constructor, DeadlineExceeded)
      t.equal(await client.burn({}), null)
    })
  })

  t.test('when the caller goes away, the call ends and the far side hears of it', async (t) => {
    const started = Promise.withResolvers<void>()
    const { handler, aborted } = tells()
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        find: (input: unknown, context: CallContext) => {
          started.resolve()
          return handler(input, context)
        },
      }),
    )
    const request = new RequestContext({ timeout: 30_000 })
    const call = errorOf(request.run(() => client.find({ id: '1' })))
    await started.promise
    request.end()
    t.equal((await call).constructor, DeadlineExceeded)
    t.equal(await aborted, true)
  })

  t.test('no time left means no call', async (t) => {
    const calls: string[] = []
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        burn: () => {
          calls.push('burn')
          return null
        },
      }),
    )
    const late = new RequestContext({ timeout: 0 })
    t.equal((await errorOf(late.run(() => client.burn({})))).constructor, DeadlineExceeded)
    t.equal((await errorOf(client.burn({}, { timeout: 0 }))).constructor, DeadlineExceeded)
    const ended = new RequestContext()
    ended.end()
    t.equal((await errorOf(ended.run(() => client.burn({})))).constructor, DeadlineExceeded, 'the request is over')
    t.equal(
      (await errorOf(ended.run(() => client.burn({}, { timeout: 1_000 })))).constructor,
      DeadlineExceeded,
      'the request is over, whatever the call asks for',
    )
    t.strictSame(calls, [])
  })

  t.test('a timeout without end is only a long one', async (t) => {
    const { client } = await adapter.serve(t, library, libraryWith({ find: () => sleep(50, dune) }))
    t.strictSame(await client.find({ id: '1' }, { timeout: Number.POSITIVE_INFINITY }), dune)
    t.strictSame(await client.find({ id: '1' }, { timeout: 2 ** 40 }), dune)
  })

  t.test('time shrinks with every hop', async (t) => {
    const archive = defineContract('archive', {
      procedures: { ask: query({ input: Type.Object({}), output: Type.Object({ left: Type.Number() }) }) },
    })
    const left = ({ deadline }: CallContext) => deadline - performance.now()
    const { client: far } = await adapter.serve(t, archive, { ask: (_input, context) => ({ left: left(context) }) })
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        echo: async (_input: unknown, context: CallContext) => {
          const here = left(context)
          await sleep(20)
          const whole = await far.ask({})
          const part = await far.ask({}, { timeout: 100 })
          return { value: { here, whole: whole.left, part: part.left } }
        },
      }),
    )
    for (let round = 0; round < 20; round++) {
      await inRequest({ timeout: 1_000 }, async (context) => {
        const before = left(context)
        const { here, whole, part } = (await client.echo({ value: 0 })).value as Record<string, number>
        t.ok(here! > 0 && here! <= before, `first hop: ${here} of ${before}`)
        t.ok(whole! > 0 && whole! <= here! - 19, `second hop: ${whole} of ${here}`)
        t.ok(part! > 0 && part! <= 100, `second hop with less: ${part}`)
      })
    }
  })

  t.test('a call that was too late is counted once, also when its answer still comes', async (t) => {
    const answer = Promise.withResolvers<null>()
    const served = await adapter.serve(t, library, libraryWith({ burn: () => answer.promise }))
    t.equal((await errorOf(served.client.burn({}, { timeout: 20 }))).constructor, DeadlineExceeded)
    answer.resolve(null)
    await sleep(30)
    t.equal(await served.count('all', 'burn'), 1)
    t.equal(await served.count('failed', 'burn'), 1)
    t.equal(await served.client.burn({}), null)
    t.equal(await served.count('all', 'burn'), 2)
    t.equal(await served.count('failed', 'burn'), 1)
  })
}

function contexts(t: Test, adapter: AdapterUnderTest): void {
  const identity: Identity = {
    userId: '01890000-0000-7000-8000-000000000001',
    roles: ['member', 'admin'],
    sessionId: '01890000-0000-7000-8000-00000000005e',
  }
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

  t.test('the user, the request id and the trace go along, also to the second hop', async (t) => {
    const seen: Record<string, unknown>[] = []
    const note = (at: string, { identity, requestId, traceparent }: CallContext) => {
      seen.push({ at, identity, requestId, traceparent })
      return null
    }
    const archive = defineContract('archive', {
      procedures: { ask: query({ input: Type.Object({}), output: Type.Null() }) },
    })
    const { client: far } = await adapter.serve(t, archive, { ask: (_input, context) => note('archive', context) })
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        burn: (_input: unknown, context: CallContext) => {
          note('library', context)
          return far.ask({})
        },
      }),
    )
    await inRequest({ identity, requestId: 'request-1', traceparent }, () => client.burn({}))
    await inRequest({ identity, requestId: 'request-2', traceparent }, () => client.burn({}, { timeout: 1_000 }))
    const all = (requestId: string) => ['library', 'archive'].map((at) => ({ at, identity, requestId, traceparent }))
    t.strictSame(seen, [...all('request-1'), ...all('request-2')])
  })

  t.test('a request of nobody stays one, and a call outside of any request has a context of its own', async (t) => {
    const seen: CallContext[] = []
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        burn: (_input: unknown, context: CallContext) => {
          seen.push(context)
          return null
        },
      }),
    )
    await inRequest({ requestId: 'request-3' }, () => client.burn({}))
    await client.burn({})
    t.strictSame(
      seen.map(({ identity }) => identity),
      [null, null],
    )
    t.equal(seen[0]!.requestId, 'request-3')
    t.match(seen[1]!.requestId, /^[\w.-]{1,128}$/)
    t.not(seen[1]!.requestId, 'request-3')
  })
}

function loads(t: Test, adapter: AdapterUnderTest): void {
  t.test('two hundred calls at once get each its own answer', async (t) => {
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({
        echo: async ({ value }: { value: number }, context: CallContext) => {
          await sleep(value % 7)
          return { value: `${value} ${context.requestId}` }
        },
      }),
    )
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => inRequest({ requestId: `r${n}` }, () => client.echo({ value: n }))),
    )
    t.strictSame(
      answers.map(({ value }) => value),
      Array.from({ length: 200 }, (_, n) => `${n} r${n}`),
    )
  })

  t.test('an input just below the limit and an answer of several megabytes pass', async (t) => {
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({ echo: ({ value }: { value: string }) => ({ value: value.repeat(4) }) }),
    )
    const value = 'x'.repeat(MAX_INPUT - Buffer.byteLength('{"value":""}'))
    const answer = await client.echo({ value })
    t.equal((answer.value as string).length, 4 * value.length)
  })

  t.test('results that conform to the contract arrive deeply equal, whatever they are', async (t) => {
    for (const { contract, values } of shapes) {
      const kept: unknown[] = []
      const { client } = await adapter.serve(t, contract, {
        same: (input) => {
          kept.push(input)
          return input
        },
      } as Implementation<typeof contract, CallContext>)
      await fc.assert(
        fc.asyncProperty(values, async (value) => {
          const before = structuredClone(value)
          assert.deepStrictEqual(await (client as Client<Contract>).same!(value as never), before)
          assert.deepStrictEqual(kept.pop(), before)
          assert.deepStrictEqual(value, before)
        }),
        { numRuns: 100 },
      )
      t.pass(JSON.stringify(contract.procedures.same!.input))
    }
  })
}

function strictness(t: Test, adapter: AdapterUnderTest): void {
  /** The call must fail with a Divergence that names the procedure and the place. */
  const diverges = async (t: Test, call: Promise<unknown>, procedure: string, place: string | RegExp) => {
    const error = await errorOf(call)
    t.equal(error.constructor, Divergence, error.message)
    t.match(error.message, `library.${procedure}`)
    t.match(error.message, place)
  }

  class Money {
    amount = 7
  }

  t.test('a result that is not what the contract says fails, and the message names the place', async (t) => {
    const bad: [unknown, string | RegExp][] = [
      [{ ...dune, shelf: 3 }, '/shelf is not a known field'],
      [{ ...dune, author: { ...dune.author, age: 65 } }, '/author/age is not a known field'],
      [{ ...dune, title: undefined }, '/title is missing'],
      [{ ...dune, author: { name: 'Frank' } }, '/author/born is missing'],
      [{ ...dune, title: new Date() }, '/title must be string'],
      [{ ...dune, tags: ['sand', undefined] }, '/tags/1'],
      [{ ...dune, author: { name: 'Frank', born: 19.2 } }, '/author/born'],
      [undefined, 'library.find'],
      [null, 'library.find'],
    ]
    for (const [result, place] of bad) {
      const { client } = await adapter.serve(t, library, libraryWith({ find: () => result }))
      await diverges(t, client.find({ id: '1' }), 'find', place)
    }
  })

  t.test('a result that would arrive as something else fails, and the message names the place', async (t) => {
    const bad: [unknown, string | RegExp][] = [
      [{ value: { at: [new Date(0)] } }, /\/value\/at\/0 is a Date/],
      [{ value: { price: new Money() } }, /\/value\/price is a Money/],
      [{ value: new Map([[1, 2]]) }, /\/value is a Map/],
      [{ value: [1, undefined] }, '/value/1'],
      [{ value: { n: Number.NaN } }, /\/value\/n is NaN/],
      [{ value: { n: -0 } }, /\/value\/n is -0/],
      [{ value: { n: 1n } }, 'library.echo'],
      [{ value: { f: () => 1 } }, '/value/f'],
      [{ value: () => 1 }, 'JSON'],
      [{ value: Symbol('s') }, 'JSON'],
    ]
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    bad.push([{ value: cycle }, 'library.echo'])
    for (const [result, place] of bad) {
      const { client } = await adapter.serve(t, library, libraryWith({ echo: () => result }))
      await diverges(t, client.echo({ value: 1 }), 'echo', place)
    }
  })

  t.test('an input that would arrive as something else fails before the call', async (t) => {
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    const client = adapter.unreachable(t, library)
    await diverges(t, client.echo({ value: { at: [new Date(0)] } }), 'echo', /\/value\/at\/0 is a Date/)
    await diverges(t, client.echo({ value: { price: new Money() } }), 'echo', /\/value\/price is a Money/)
    await diverges(t, client.echo({ value: [1, undefined] }), 'echo', '/value/1')
    await diverges(t, client.echo({ value: 1n }), 'echo', 'the input')
    await diverges(t, client.echo({ value: cycle }), 'echo', 'the input')
  })

  t.test('details of an error that would arrive as something else fail', async (t) => {
    const bad: [unknown, string][] = [
      [{ by: new Date(0), days: 1 }, '/by'],
      [{ by: 'Ada' }, '/days'],
      [{ by: 'Ada', days: 1, phone: 2 }, '/phone'],
    ]
    for (const [details, place] of bad) {
      const { client } = await adapter.serve(
        t,
        library,
        libraryWith({
          lend: () => {
            throw new library.errors.Taken(details as never)
          },
        }),
      )
      await diverges(t, client.lend({ id: '1', to: { name: 'Ada', age: 36 } }), 'lend', place)
    }
  })

  t.test('a caller that changes its input while the call is under way fails', async (t) => {
    const changes: ((input: { id: string; to: { name: string; age: number } }) => void)[] = [
      (input) => {
        input.to.name = 'Eve'
      },
      (input) => {
        delete (input as { id?: string }).id
      },
      (input) => {
        input.to.age = Number.NaN
      },
    ]
    for (const change of changes) {
      const { client } = await adapter.serve(t, library, libraryWith({ lend: () => sleep(20, { due: 'tomorrow' }) }))
      const input = { id: '1', to: { name: 'Ada', age: 36 } }
      const call = client.lend(input)
      change(input)
      await diverges(t, call, 'lend', 'changed the input')
    }
  })

  t.test('a handler cannot change its input, at any depth', async (t) => {
    const served = await adapter.serve(
      t,
      library,
      libraryWith({
        lend: (input: { to: { name: string } }) => {
          input.to.name = 'Eve'
          return { due: 'tomorrow' }
        },
      }),
    )
    const input = { id: '1', to: { name: 'Ada', age: 36 } }
    t.equal((await errorOf(served.client.lend(input))).constructor, CallFailed)
    t.match(served.log(), 'read only')
    t.equal(input.to.name, 'Ada')
    t.notOk(Object.isFrozen(input), "the caller's own value stays as it was")
  })

  t.test(
    "a result is nobody else's and cannot be changed: neither what the handler keeps nor what the caller has",
    async (t) => {
      const kept = structuredClone(dune)
      const { client } = await adapter.serve(t, library, libraryWith({ find: () => kept }))
      const book = await client.find({ id: '1' })
      t.not(book, kept)
      t.throws(() => kept.tags.push('worms'), TypeError)
      t.throws(() => {
        kept.author.name = 'Brian'
      }, TypeError)
      t.throws(() => book.tags.push('worms'), TypeError)
      t.throws(() => {
        book.author.name = 'Brian'
      }, TypeError)
      t.strictSame(await client.find({ id: '1' }), dune)
    },
  )

  t.test('what is too large for a remote call fails', async (t) => {
    const { client } = await adapter.serve(
      t,
      library,
      libraryWith({ anything: () => 'x'.repeat(MAX_OUTPUT), echo: () => ({ value: 1 }) }),
    )
    await diverges(t, client.echo({ value: 'x'.repeat(MAX_INPUT) }), 'echo', /input .* 1 MiB/)
    await diverges(t, client.echo({ value: 'ü'.repeat(MAX_INPUT / 2) }), 'echo', /input .* 1 MiB/)
    await diverges(t, client.anything(1), 'anything', /result .* 8 MiB/)
  })
}

/** A contract whose only procedure gives back what it gets. */
const mirror = <S extends Parameters<typeof query>[0]['input']>(schema: S) =>
  defineContract('mirror', { procedures: { same: query({ input: schema, output: schema }) } })

const text = fc.string({ unit: 'binary', maxLength: 20 })
// JSON knows no -0: strict calls refuse it.
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0)
const integer = fc.maxSafeInteger().map((n) => n + 0)
const object = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }, requiredKeys?: (keyof T)[]) =>
  fc.record(model, { noNullPrototype: true, ...(requiredKeys && { requiredKeys }) }) as fc.Arbitrary<unknown>

/** Shapes with arbitrary values of them: each construct of a schema that a contract is likely to use. */
const shapes: { contract: Contract; values: fc.Arbitrary<unknown> }[] = [
  {
    contract: mirror(
      Type.Object({
        id: Type.String({ format: 'uuid' }),
        at: Type.String({ format: 'date-time' }),
        title: Type.String(),
        size: Type.Number(),
        count: Type.Integer(),
        open: Type.Boolean(),
        none: Type.Null(),
      }),
    ),
    values: object({
      id: fc.uuid(),
      at: fc
        .date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') })
        .map((date) => date.toISOString()),
      title: text,
      size: number,
      count: integer,
      open: fc.boolean(),
      none: fc.constant(null),
    }),
  },
  {
    contract: mirror(
      Type.Object({
        'a "b"\n\\': Type.Optional(Type.String()),
        maybe: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        list: Type.Optional(Type.Array(Type.Union([Type.Integer(), Type.Null(), Type.Boolean()]))),
        deep: Type.Optional(Type.Object({ deeper: Type.Optional(Type.Object({ n: Type.Optional(Type.Number()) })) })),
      }),
    ),
    values: object(
      {
        'a "b"\n\\': text,
        maybe: fc.option(text),
        list: fc.array(fc.oneof(integer, fc.constant(null), fc.boolean())),
        deep: object({ deeper: object({ n: number }, []) }, []),
      },
      [],
    ),
  },
  {
    contract: mirror(
      Type.Array(
        Type.Union([
          Type.Object({ kind: Type.Literal('circle'), radius: Type.Number() }),
          Type.Object({ kind: Type.Literal('box'), sides: Type.Tuple([Type.Number(), Type.Number()]) }),
          Type.Object({ kind: Type.Enum(['dot', 'line']), tag: Type.Optional(Type.String()) }),
          Type.String(),
          Type.Integer(),
        ]),
      ),
    ),
    values: fc.array(
      fc.oneof(
        object({ kind: fc.constant('circle'), radius: number }),
        object({ kind: fc.constant('box'), sides: fc.tuple(number, number) }),
        object({ kind: fc.constantFrom('dot', 'line'), tag: text }, ['kind']),
        text,
        integer,
      ),
    ),
  },
  {
    contract: mirror(Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.Number()), Type.Null()]))),
    values: fc.dictionary(text, fc.oneof(text, fc.array(number), fc.constant(null)), { noNullPrototype: true }),
  },
  {
    contract: mirror(
      Type.Intersect([Type.Object({ id: Type.String() }), Type.Object({ count: Type.Optional(Type.Integer()) })]),
    ),
    values: object({ id: text, count: integer }, ['id']),
  },
  {
    contract: mirror(Type.Unknown()),
    values: fc.jsonValue({ noUnicodeString: false } as object).map((value) => JSON.parse(JSON.stringify(value))),
  },
]
