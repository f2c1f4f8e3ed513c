import postgres from 'postgres'
import t, { type Test } from 'tap'
import { newId } from '../../../src/platform/kit/tables.ts'
import { type Api, connect } from '../../api/client.ts'
import { settled } from '../../support/published.ts'
import { startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'
import { UsersDouble } from './users-double.ts'

const ADA = { firstName: 'Ada', lastName: 'Byron' }
const MARRIED = { firstName: 'Ada', lastName: 'Lovelace' }

t.setTimeout(240_000)

/** Posts with users that do as the test says. */
async function start(t: Test) {
  const users = new UsersDouble()
  const topology = await startTopology({ catalogue: users.catalogue })
  const sql = postgres(topology.databaseUrl, { max: 4, onnotice: () => {} })
  t.teardown(async () => {
    await sql.end()
    await topology.close()
  })
  const api = connect(t, { url: topology.url, smtp: undefined as never, secret: '', operate: topology.operate })
  const author = async (id: string) => {
    const [row] = await sql`
      select first_name, last_name, version::int, deleted_at is not null as deleted, cleared_at is not null as cleared
      from posts.authors where id = ${id}`
    return row
  }
  return {
    users,
    sql,
    api,
    author,
    /** Waits until all events of users have taken effect. */
    settled: () => settled(sql, 'users'),
    /** Has the events of users delivered again: all, or those with a sequence number. */
    async replay(sequence?: number) {
      const which = sequence === undefined ? sql`true` : sql`sequence = ${sequence}`
      // As if what was handled last of each author were the event before.
      if (sequence === undefined) await sql`delete from posts.inbox_keys where publisher = 'users'`
      else await sql`update posts.inbox_keys set last = ${sequence - 1} where publisher = 'users'`
      await sql`
        update users.outbox_deliveries set confirmed_at = null, due_at = now()
        where event_id in (select id from users.outbox where ${which})`
    },
  }
}

const signIn = async (api: Api, userId: string) => {
  const answer = await api.post('/api/auth/login', { userId })
  return { token: answer.body.token as string }
}
const NEW_POST = { title: 'On engines', content: 'They weave.', tags: ['looms'] }

t.test('authors have the names that the events of users say', async (t) => {
  const { users, api, author, settled, replay } = await start(t)
  const id = newId()
  await users.created(id, ADA)
  await settled()
  const post = await api.post('/api/posts', NEW_POST, await signIn(api, id))
  t.match(post.body.data.author, { id, ...ADA })
  t.strictSame(users.asked, [], 'users were not asked')
  const path = String(post.headers.location)

  await users.updated(id, MARRIED)
  await settled()
  const read = await api.get(path)
  t.match(read.body.data.author, { id, ...MARRIED })
  t.not(read.headers.etag, post.headers.etag, 'what is shown has changed')
  const before = await author(id)

  await t.test('an event that comes late or again changes nothing', async (t) => {
    for (const sequence of [1, 2, 1]) {
      await replay(sequence)
      await settled()
      t.strictSame(await author(id), before)
    }
    const again = await api.get(path)
    t.strictSame([again.body, again.headers.etag], [read.body, read.headers.etag])
  })
})

t.test('authors can be made again from the events', async (t) => {
  const { users, sql, settled, replay } = await start(t)
  const ids = Array.from({ length: 5 }, newId)
  for (const [n, id] of ids.entries()) {
    await users.created(id, { ...ADA, lastName: `Number ${n}` })
    if (n % 2) await users.updated(id, { ...MARRIED, lastName: `Changed ${n}` })
  }
  await users.deleted(ids[4]!)
  await settled()
  const all = () =>
    sql`select id, first_name, last_name, version, deleted_at is null as there from posts.authors order by id`
  const before = await all()
  t.equal(before.length, 5)
  await replay()
  await settled()
  t.strictSame(await all(), before, 'over those that are there')
  await sql`delete from posts.authors`
  await replay()
  await settled()
  t.strictSame(await all(), before, 'and from nothing')
})

t.test('who is not known yet is asked for, once', async (t) => {
  const { users, api, author, settled } = await start(t)
  const id = newId()
  users.known.set(id, ADA)
  const ask = await signIn(api, id)
  const headers = { 'idempotency-key': 'first-post' }
  const first = await api.post('/api/posts', NEW_POST, { ...ask, headers })
  t.match([first.status, first.body.data.author], [201, { id, ...ADA }])
  t.strictSame((await api.post('/api/posts', NEW_POST, { ...ask, headers })).body, first.body)
  t.equal((await api.post(`${first.headers.location}/comments`, { content: 'Hm.' }, ask)).status, 201)
  t.strictSame(users.asked, [id])

  await users.created(id, ADA)
  await settled()
  t.match(await author(id), { version: 1 })
  const read = await api.get(String(first.headers.location))
  t.equal(read.headers.etag, first.headers.etag, 'the event says what was known already')

  const stranger = await signIn(api, newId())
  const path = '/api/posts'
  const refused = await api.post(path, NEW_POST, stranger)
  t.match([refused.status, refused.body], [403, { code: 'AuthorUnknown', module: 'posts', instance: path }])
  t.equal((await api.get('/api/posts')).body.data.length, 1, 'nothing is left of it')
})

t.test('with the account of a user goes all that they have written', async (t) => {
  const { users, sql, api, author, settled } = await start(t)
  const [gone, stays] = [newId(), newId()]
  await users.created(gone, ADA)
  await users.created(stays, { firstName: 'Bob', lastName: 'Stays' })
  await settled()
  const [mine, theirs] = [await signIn(api, gone), await signIn(api, stays)]
  const write = async (ask: { token: string }, json: object = {}) =>
    (await api.post('/api/posts', { ...NEW_POST, ...json }, ask)).body.data.id as string
  const published = await Promise.all(Array.from({ length: 60 }, () => write(mine)))
  const draft = await write(mine, { status: 'draft' })
  const other = await write(theirs)
  const own = await api.post(`/api/posts/${other}/comments`, { content: 'Mine.' }, mine)
  t.equal((await api.post(`/api/posts/${other}/comments`, { content: 'Theirs.' }, theirs)).status, 201)
  t.equal((await api.post(`/api/posts/${published[0]}/comments`, { content: 'Theirs.' }, theirs)).status, 201)

  // Some posts are being written at the moment.
  const late = Promise.all(Array.from({ length: 20 }, () => api.post('/api/posts', NEW_POST, mine)))
  await users.deleted(gone)
  const answers = await late
  t.ok(answers.every(({ status }) => status === 201 || status === 403))
  await until('all is removed', async () => (await author(gone))?.cleared)

  t.strictSame(await author(gone), { first_name: '', last_name: '', version: 2, deleted: true, cleared: true })
  const left = await sql`select id from posts.posts where author_id = ${gone}`
  t.equal(left.length, 0)
  for (const id of [published[0], published.at(-1), draft]) t.equal((await api.get(`/api/posts/${id}`)).status, 404)
  t.equal((await api.get(String(own.headers.location))).status, 404)
  const { body } = await api.get(`/api/posts/${other}/comments`)
  t.strictSame(
    body.data.map(({ content }: { content: string }) => content),
    ['Theirs.'],
  )

  const wanted = [
    ...published,
    ...answers.filter(({ status }) => status === 201).map(({ body }) => body.data.id),
  ].sort()
  const told = await until('others are told of all that was published', () => {
    const ids = users.heard.filter(({ name }) => name === 'post.deleted').map(({ data }) => data.postId)
    return ids.length >= wanted.length && ids.sort()
  })
  t.strictSame(told, wanted)
  const tags = await until('the tags are counted', async () => {
    const { body } = await api.get('/api/tags')
    return body.data[0]?.count === 1 && body.data
  })
  t.strictSame(tags, [{ name: 'looms', count: 1 }])

  await t.test('and nothing of theirs comes back', async (t) => {
    for (const [method, path, json] of [
      ['POST', '/api/posts', NEW_POST],
      ['POST', `/api/posts/${other}/comments`, { content: 'Back.' }],
    ] as const) {
      const answer = await api.send(method, path, { ...mine, json })
      t.match([answer.status, answer.body.code], [403, 'AuthorUnknown'])
    }
    await users.created(gone, ADA)
    await settled()
    t.equal((await author(gone))!.deleted, true)
    t.strictSame(users.asked, [])
  })
})

t.test('an author is not cleared while another process removes what is left, which may come back', async (t) => {
  const { users, sql, api, author, settled } = await start(t)
  const [gone, stays] = [newId(), newId()]
  await users.created(gone, ADA)
  await users.created(stays, ADA)
  await settled()
  const post = (await api.post('/api/posts', NEW_POST, await signIn(api, stays))).body.data.id
  await sql`
    insert into posts.comments (id, post_id, author_id, content)
    select gen_random_uuid(), ${post}, ${gone}, 'Mine.' from generate_series(1, 1001)`
  const left = async () => (await sql`select from posts.comments where author_id = ${gone}`).length

  const other = await sql.reserve()
  await other`begin`
  await other`
    delete from posts.comments
    where id in (select id from posts.comments where author_id = ${gone} order by id limit 1000)`
  await users.deleted(gone)
  await until('what nobody has taken is removed', async () => (await left()) === 1_000)
  await other`rollback`
  other.release()
  // It looks again when there is somebody else.
  await users.deleted(newId())
  await until('all is removed', async () => (await author(gone))?.cleared)
  t.equal(await left(), 0)
})

t.test('a deletion that comes before anything else keeps the user out', async (t) => {
  const { users, api, author, settled } = await start(t)
  const id = newId()
  await users.deleted(id)
  await settled()
  users.known.set(id, ADA)
  const answer = await api.post('/api/posts', NEW_POST, await signIn(api, id))
  t.match([answer.status, answer.body.code], [403, 'AuthorUnknown'])
  t.match(await author(id), { deleted: true, first_name: '' })
})
