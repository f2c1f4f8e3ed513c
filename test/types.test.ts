// What the compiler must accept and refuse in a module. `tsc` does the checking: each `@ts-expect-error` fails it when the
// line below is no error (any more). Nothing of this is called; the test only says that the file was part of the run.

import t from 'tap'
import { Type } from 'typebox'
import { type Client, command, defineContract, event, query } from '../src/platform/kit/contract.ts'
import type { SeamError } from '../src/platform/kit/errors.ts'
import { defineModule, definePlugin, type ModuleApp } from '../src/platform/kit/module.ts'
import type { Transaction } from '../src/platform/kit/tables.ts'

/** True when two types are the same, in both directions and with all their modifiers. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Same<A, B>) => {}

const Book = Type.Object({ id: Type.String(), pages: Type.Integer(), subtitle: Type.Optional(Type.String()) })
type Book = { id: string; pages: number; subtitle?: string }

const books = defineContract('books', {
  routes: ['/api/books'],
  errors: {
    NotThere: { status: 404, message: 'There is no such book.' },
    Taken: { status: 409, message: 'Somebody has it.', details: Type.Object({ by: Type.String() }) },
  },
  procedures: {
    find: query({ input: Type.Object({ id: Type.String() }), output: Book, throws: ['NotThere'] }),
    lend: command({
      input: Type.Object({ id: Type.String(), days: Type.Integer() }),
      output: Type.Null(),
      throws: ['Taken', 'NotThere'],
    }),
  },
  events: {
    lent: event('book.lent', { version: 1, key: 'id', data: Type.Object({ id: Type.String(), to: Type.String() }) }),
  },
})
const films = defineContract('films', {
  events: { shown: event('film.shown', { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }) },
})

// --- contracts -------------------------------------------------------------------------------------------------------

export const contracts = () => {
  same<typeof books.name, 'books'>(true)

  defineContract('x', {
    errors: { Known: { status: 404, message: 'x' } },
    procedures: {
      // @ts-expect-error A procedure throws errors of its own contract only.
      find: query({ input: Type.Object({}), output: Type.Null(), throws: ['Unknown'] }),
    },
  })
  defineContract('x', {
    procedures: {
      // @ts-expect-error A contract without errors has none to throw.
      find: query({ input: Type.Object({}), output: Type.Null(), throws: ['Known'] }),
    },
  })
  // @ts-expect-error The key of an event is a property of its data.
  event('x.y', { version: 1, key: 'user', data: Type.Object({ userId: Type.String() }) })
  query({ input: Book, output: Type.Null(), cache: { ttl: 1, tags: ({ id, pages }) => [id.trim(), pages.toFixed()] } })
  // @ts-expect-error Tags are made of what the input has.
  query({ input: Book, output: Type.Null(), cache: { ttl: 1, tags: ({ author }) => [author] } })
  // @ts-expect-error Answers are kept for a time.
  query({ input: Book, output: Type.Null(), cache: {} })
  // @ts-expect-error What changes something is not kept.
  command({ input: Book, output: Type.Null(), cache: { ttl: 1 } })
  // @ts-expect-error An event outdates by what its data has.
  event('x.y', { version: 1, key: 'id', data: Book, outdates: ({ author }) => [author] })
  // @ts-expect-error A REST prefix lies below /api/.
  defineContract('x', { routes: ['/books'] })
  // @ts-expect-error A procedure has an output.
  query({ input: Type.Object({}) })
  // @ts-expect-error An error has a status.
  defineContract('x', { errors: { Known: { message: 'x' } } })
}

export const errors = () => {
  const taken = new books.errors.Taken({ by: 'Ada' })
  same<typeof taken, SeamError<{ by: string }>>(true)
  new books.errors.NotThere()
  // @ts-expect-error Details have the declared shape.
  new books.errors.Taken({ by: 7 })
  // @ts-expect-error Details that are declared must be there.
  new books.errors.Taken()
  // @ts-expect-error Details that are not declared may not.
  new books.errors.NotThere({ id: '1' })
  // @ts-expect-error Only declared errors exist.
  new books.errors.Burnt()
}

// --- calls -----------------------------------------------------------------------------------------------------------

export const calls = async (app: ModuleApp<typeof films>) => {
  const { find, lend } = app.call(books)
  same<Awaited<ReturnType<typeof find>>, Book>(true)
  same<Parameters<typeof find>[0], { id: string }>(true)
  same<Awaited<ReturnType<typeof lend>>, null>(true)
  same<ReturnType<typeof app.call<typeof books>>, Client<typeof books>>(true)

  const book = await find({ id: '1' }, { timeout: 100 })
  book.pages.toFixed()
  // @ts-expect-error An optional field of the output may be missing.
  book.subtitle.length
  // @ts-expect-error The output has the declared fields only.
  book.author
  // @ts-expect-error The input has the declared types.
  await find({ id: 1 })
  // @ts-expect-error The input is complete.
  await lend({ id: '1' })
  // @ts-expect-error The input has no other fields.
  await find({ id: '1', title: 'x' })
  // @ts-expect-error There is an input.
  await find()
  // @ts-expect-error Options are known.
  await find({ id: '1' }, { retries: 3 })
  // @ts-expect-error Only declared procedures exist.
  app.call(books).burn
  // @ts-expect-error A contract without procedures has none to call.
  app.call(films).show
  // @ts-expect-error Modules are named by their contracts, not by strings.
  app.call('books')
  // @ts-expect-error A client is not for changing.
  app.call(books).find = async () => book
}

// --- implementations -------------------------------------------------------------------------------------------------

export const implementations = (app: ModuleApp<typeof books>) => {
  app.implement({
    find: async ({ id }, context) => {
      same<typeof id, string>(true)
      same<typeof context.signal, AbortSignal>(true)
      return { id, pages: 7 }
    },
    lend: () => null,
  })
  // @ts-expect-error All procedures are implemented.
  app.implement({ find: () => ({ id: '1', pages: 7 }) })
  app.implement({
    // @ts-expect-error The result has the declared types.
    find: () => ({ id: '1', pages: 'seven' }),
    lend: () => null,
  })
  app.implement({
    // @ts-expect-error The result is complete, also when it is promised.
    find: async () => ({ id: '1' }),
    lend: () => null,
  })
  app.implement({
    // @ts-expect-error The handler takes what the contract promises to send.
    find: ({ title }: { title: string }) => ({ id: title, pages: 7 }),
    lend: () => null,
  })
  app.implement({
    find: () => ({ id: '1', pages: 7 }),
    lend: () => null,
    // @ts-expect-error Only procedures of the contract are implemented.
    burn: () => null,
  })
  app.implement({
    find: () => ({ id: '1', pages: 7 }),
    // @ts-expect-error Nothing is not null.
    lend: () => {},
  })
}

// --- events ----------------------------------------------------------------------------------------------------------

export const events = async (app: ModuleApp<typeof books>, tx: Transaction) => {
  await app.publish(tx, books.events.lent, { id: '1', to: 'Ada' })
  // @ts-expect-error Data has the declared types.
  await app.publish(tx, books.events.lent, { id: '1', to: 7 })
  // @ts-expect-error Data is complete.
  await app.publish(tx, books.events.lent, { id: '1' })
  // @ts-expect-error Data has no other fields.
  await app.publish(tx, books.events.lent, { id: '1', to: 'Ada', on: 'Monday' })
  // @ts-expect-error A module publishes its own events only.
  await app.publish(tx, films.events.shown, { id: '1' })
  // @ts-expect-error An event is published in a transaction.
  await app.publish(books.events.lent, { id: '1', to: 'Ada' })
  // @ts-expect-error Events are named by their contracts, not by strings.
  await app.publish(tx, 'book.lent', { id: '1', to: 'Ada' })

  app.subscribe(films.events.shown, async ({ id, key, sequence, data }, { tx, afterCommit }) => {
    same<typeof data, { id: string }>(true)
    same<typeof id, string>(true)
    same<typeof key, string>(true)
    same<typeof sequence, number>(true)
    same<typeof tx, Transaction>(true)
    afterCommit(() => {})
    // @ts-expect-error The data of an event has the declared fields only.
    data.title
  })
  // @ts-expect-error Events are named by their contracts, not by strings.
  app.subscribe('film.shown', async () => {})
}

// --- modules ---------------------------------------------------------------------------------------------------------

const settings = Type.Object({ LOAN_DAYS: Type.Integer({ default: 14 }), LENDER: Type.Optional(Type.String()) })

export const modules = () => {
  const plugin = definePlugin<typeof books, typeof settings>((app) => {
    same<typeof app.settings, { LENDER?: string; LOAN_DAYS: number }>(true)
    // @ts-expect-error Only declared variables exist.
    app.settings.PORT
    app.get(
      '/api/books/:id',
      { config: { allow: 'user' }, schema: { params: Type.Object({ id: Type.String() }), response: { 200: Book } } },
      async (request, reply) => {
        same<typeof request.params.id, string>(true)
        // @ts-expect-error A route answers with what its schema says.
        reply.send({ id: request.params.id })
        return { id: request.params.id, pages: 7 }
      },
    )
    // @ts-expect-error A route is for anyone or for users.
    app.get('/api/books', { config: { allow: 'admins' } }, async () => [])
  })
  defineModule(books, {
    uses: [films],
    subscribes: [films.events.shown],
    settings,
    plugin: async () => ({ default: plugin }),
  })
  // @ts-expect-error A module has a plugin.
  defineModule(books, { uses: [films] })
  // @ts-expect-error Modules are named by their contracts, not by strings.
  defineModule(films, { uses: ['books'], plugin: async () => ({ default: () => {} }) })
  // @ts-expect-error A procedure is no event.
  defineModule(films, { subscribes: [books.procedures.find], plugin: async () => ({ default: () => {} }) })
}

t.test('a module that uses its types wrongly does not compile', async (t) => {
  t.ok([contracts, errors, calls, implementations, events, modules].every((check) => typeof check === 'function'))
})
