import postgres from 'postgres'
import t from 'tap'
import { type Answer, refused } from '../../api/client.ts'
import { type Person, scene } from '../../support/bystanders.ts'
import { startSmtp } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

const smtp = await startSmtp()
t.teardown(() => smtp.close())
const { api, publish, person, stranger, comment, databaseUrl } = await scene(t, { smtp })
const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} })
t.teardown(() => sql.end())

const list = (who: Person, query = '') => api.get(`/api/notifications${query}`, who)
const texts = ({ body }: Answer): string[] => body.data.map(({ text }: { text: string }) => text)
const received = (who: Person, count: number) =>
  until(`${count} notifications`, async () => {
    const answer = await list(who, '?limit=100')
    return answer.body.data.length >= count && answer
  })
/** Lets what was published before have its effect, if it has any. */
const settled = async () => {
  const last = await person('Zoe')
  await received(last, 1)
}
const known = (who: Person, email: string) =>
  until(`the address ${email}`, async () => {
    const rows = await sql`select 1 from notifications.recipients where user_id = ${who.id} and email = ${email}`
    return rows.length > 0
  })
/** Every row of the module's schema in which a text stands. */
const rowsWith = async (text: string): Promise<string[]> => {
  const tables =
    await sql`select table_name as name from information_schema.tables where table_schema = 'notifications'`
  const found = tables.map(async ({ name }) => {
    const rows = await sql`select row_to_json(r)::text as row from notifications.${sql(name)} r`
    return rows.flatMap(({ row }) => (row.includes(text) ? [`${name}: ${row}`] : []))
  })
  return (await Promise.all(found)).flat()
}

t.test('a comment is told to the author of the post, and not when they comment themselves', async (t) => {
  const ada = await person()
  // What another module tells may come before.
  await received(ada, 1)
  await publish('commentCreated', {
    commentId: ada.id,
    postId: ada.id,
    postTitle: 'On engines',
    postAuthorId: ada.id,
    authorId: ada.id,
    authorName: 'Ada',
    excerpt: 'I agree with myself.',
  })
  await comment(ada, 'Well\nsaid.')
  const { body } = await received(ada, 2)
  await settled()
  t.strictSame(texts(await list(ada)), ['Bob has commented on “On engines”: Well said.', 'Welcome to Seam, Ada!'])
  t.match(body.data[0], { kind: 'comment', link: /^\/api\/comments\/[0-9a-f-]{36}$/, readAt: null })
  const mails = () => smtp.mails.filter(({ to }) => to.includes(ada.email)).length
  await until('both by mail', () => mails() >= 2)
  t.equal(mails(), 2, 'and by mail')
})

t.test('pages stay right while notifications come', async (t) => {
  const ada = await person()
  for (let n = 1; n <= 5; n++) await comment(ada, `${n}`)
  const all = texts(await received(ada, 6))
  const seen: string[] = []
  let path = '/api/notifications?limit=2'
  for (let page = 0; page < 3; page++) {
    const answer = await api.get(path, ada)
    seen.push(...texts(answer))
    const next = answer.body.page.next
    t.equal(next === null, page === 2)
    path = `/api/notifications?limit=2&cursor=${next}`
    await comment(ada, 'late')
    await received(ada, 7 + page)
  }
  t.strictSame(seen, all)
})

t.test('one can be read, and again; its ETag says when it has changed', async (t) => {
  const ada = await person()
  const { body } = await received(ada, 1)
  const path = `/api/notifications/${body.data[0].id}`
  const before = await api.get(path, ada)
  t.match([before.status, before.body.data], [200, body.data[0]])
  const known = { ...ada, headers: { 'if-none-match': String(before.headers.etag) } }
  t.equal((await api.get(path, known)).status, 304)
  const read = await api.send('POST', `${path}/read`, ada)
  t.match([read.status, read.body.data.readAt], [200, /Z$/])
  t.not(read.headers.etag, before.headers.etag)
  const again = await api.send('POST', `${path}/read`, ada)
  t.strictSame([again.body, again.headers.etag], [read.body, read.headers.etag], 'to read it again changes nothing')
  const after = await api.get(path, known)
  t.strictSame([after.status, after.body, after.headers.etag], [200, read.body, read.headers.etag])
})

t.test('all can be read at once; unread are those that were not', async (t) => {
  const ada = await person()
  await received(ada, 1)
  for (const excerpt of ['1', '2', '3']) await comment(ada, excerpt)
  const { body } = await received(ada, 4)
  await api.send('POST', `/api/notifications/${body.data[1].id}/read`, ada)
  const unread = await list(ada, '?unread=true&limit=2')
  t.strictSame(
    unread.body.data.map(({ id }: { id: string }) => id),
    [body.data[0].id, body.data[2].id],
  )
  const next = await list(ada, `?unread=true&limit=2&cursor=${unread.body.page.next}`)
  t.strictSame(texts(next), ['Welcome to Seam, Ada!'])
  for (let times = 0; times < 2; times++) {
    const answer = await api.send('POST', '/api/notifications/read-all', ada)
    t.match([answer.status, answer.text], [204, ''])
    t.strictSame(texts(await list(ada, '?unread=true')), [])
  }
  t.equal((await list(ada)).body.data.length, 4)
})

t.test('those of others are not there', async (t) => {
  const [ada, eve] = [await person(), await person('Eve')]
  const { id } = (await received(ada, 1)).body.data[0]
  const path = `/api/notifications/${id}`
  for (const [method, at] of [
    ['GET', path],
    ['POST', `${path}/read`],
  ] as const) {
    refused(t, await api.send(method, at, eve), {
      status: 404,
      code: 'NotificationNotFound',
      module: 'notifications',
      path: at,
    })
  }
  await api.send('POST', '/api/notifications/read-all', eve)
  t.equal((await list(ada, '?unread=true')).body.data.length, 1)
})

const PREFERENCES = '/api/notifications/preferences'
const ON = { inApp: true, email: true, push: true, sms: true }
const OFF = { inApp: false, email: false, push: false, sms: false }

t.test('preferences are there before anything was said, and change as a whole', async (t) => {
  const ada = await stranger()
  const before = await api.get(PREFERENCES, ada)
  t.match(before, { status: 200, body: { data: { phone: null, kinds: { comment: { inApp: true, sms: false } } } } })
  const wanted = { phone: '+12025550123', kinds: { welcome: ON, comment: OFF } }
  const put = (json: object, match?: unknown) =>
    api.send('PUT', PREFERENCES, {
      ...ada,
      json,
      ...(match !== undefined && { headers: { 'if-match': String(match) } }),
    })
  const set = await put(wanted, before.headers.etag)
  t.strictSame([set.status, set.body], [200, { data: wanted }])
  const after = await api.get(PREFERENCES, ada)
  t.strictSame([after.body, after.headers.etag], [set.body, set.headers.etag])
  refused(t, await put(wanted, before.headers.etag), {
    status: 412,
    code: 'PreconditionFailed',
    module: 'seam',
    path: PREFERENCES,
  })
  const known = { ...ada, headers: { 'if-none-match': String(after.headers.etag) } }
  t.equal((await api.get(PREFERENCES, known)).status, 304)
  for (const bad of [
    {},
    { ...wanted, phone: '0202 5550123' },
    { ...wanted, phone: '+0123456789' },
    { ...wanted, kinds: { welcome: ON } },
    { ...wanted, kinds: { ...wanted.kinds, birthday: ON } },
    { ...wanted, kinds: { ...wanted.kinds, comment: { ...ON, fax: true } } },
    { ...wanted, kinds: { ...wanted.kinds, comment: { inApp: 'yes' } } },
  ]) {
    t.equal((await put(bad)).status, 400, JSON.stringify(bad))
  }
  t.equal((await put(before.body.data)).status, 200, 'without If-Match')
})

t.test('of two who change the same version one wins', async (t) => {
  const ada = await person()
  const etag = String((await api.get(PREFERENCES, ada)).headers.etag)
  const change = (phone: string) =>
    api.send('PUT', PREFERENCES, {
      ...ada,
      json: { phone, kinds: { welcome: ON, comment: ON } },
      headers: { 'if-match': etag },
    })
  const answers = await Promise.all(['+12025550101', '+12025550102', '+12025550103'].map(change))
  t.strictSame(answers.map(({ status }) => status).sort(), [200, 412, 412])
})

t.test('what is switched off is not sent', async (t) => {
  const ada = await person()
  await received(ada, 1)
  const phone = `+1202${String(process.pid).padStart(7, '0')}`
  const prefer = (comment: object) =>
    api.send('PUT', PREFERENCES, { ...ada, json: { phone, kinds: { welcome: ON, comment } } })
  const sent = async () => {
    const rows = await sql`select channel from notifications.outgoing where user_id = ${ada.id} order by channel`
    return rows.map(({ channel }) => channel)
  }
  await prefer(OFF)
  await comment(ada)
  await settled()
  t.strictSame([texts(await list(ada)).length, await sent()], [1, ['email']], 'but the welcome')
  await prefer({ ...OFF, sms: true })
  await comment(ada)
  await until('a text message', async () => (await sent()).includes('sms'))
  t.strictSame([texts(await list(ada)).length, await sent()], [1, ['email', 'sms']])
  await prefer({ ...OFF, inApp: true })
  await comment(ada)
  await received(ada, 2)
  t.strictSame(await sent(), ['email', 'sms'])
})

t.test('who is not known yet is told nevertheless, and by mail once the address is known', async (t) => {
  const ada = await stranger()
  await comment(ada, 'early')
  await received(ada, 1)
  const { id: userId, email, firstName } = ada
  await publish('userUpdated', { userId, email, firstName, lastName: 'L' })
  await known(ada, email)
  await comment(ada, 'later')
  t.match((await smtp.mailTo(email)).words, 'later')
  t.equal(smtp.mails.filter(({ to }) => to.includes(email)).length, 1)
})

t.test('a new address is the one that is used', async (t) => {
  const ada = await person()
  await smtp.mailTo(ada.email)
  const email = `new.${ada.email}`
  await publish('userUpdated', { userId: ada.id, email, firstName: 'Augusta', lastName: 'L' })
  await known(ada, email)
  await comment(ada)
  t.match((await smtp.mailTo(email)).words, 'Bob has commented')
})

t.test('who has forgotten the password gets a mail with a link', async (t) => {
  const ada = await person()
  await smtp.mailTo(ada.email)
  const email = `reset.${ada.email}`
  await publish('passwordResetRequested', { userId: ada.id, email, firstName: '<b>Ada</b>', token: 'tok+en&<1>' })
  const { words } = await smtp.mailTo(email)
  t.match(words, /^Subject: Set a new password\r?$/m)
  t.match(words, 'http://127.0.0.1:8000/reset-password?token=tok%2Ben%26%3C1%3E')
  t.match(words, /^tok\+en&<1>\r?$/m, 'the token as text')
  t.match(words, 'Hello &lt;b&gt;Ada&lt;/b&gt;', 'what users write is no HTML')
})

t.test('nothing of a deleted user is left, and what comes late makes nothing', async (t) => {
  const ada = await person()
  await smtp.mailTo(ada.email)
  await comment(ada)
  await received(ada, 2)
  const json = { phone: '+12025550199', kinds: { welcome: ON, comment: ON } }
  await api.send('PUT', PREFERENCES, { ...ada, json })
  await comment(ada, 'to be sent')
  await received(ada, 3)
  await publish('userDeleted', { userId: ada.id })
  await until('the deletion', async () => (await list(ada)).body.data.length === 0)
  const { id: userId, email, firstName } = ada
  const late = { userId, email, firstName, lastName: 'L' }
  await publish('userCreated', { ...late, verificationToken: 'late' })
  await publish('userUpdated', late)
  await publish('passwordResetRequested', { userId, email, firstName, token: 'late' })
  await comment(ada, 'late')
  await settled()
  t.strictSame(await rowsWith(email), [])
  t.strictSame(await rowsWith(json.phone), [])
  const rows = (await rowsWith(ada.id)).filter((row) => !row.startsWith('inbox_keys:'))
  t.match(rows, [/^recipients: .*"email":null,"first_name":null,.*"phone":null,"kinds":null/])
  t.equal(rows.length, 1, 'a row that says that the account is gone')
  refused(t, await api.send('PUT', PREFERENCES, { ...ada, json }), {
    status: 409,
    code: 'RecipientUnknown',
    module: 'notifications',
    path: PREFERENCES,
  })
})

t.test('a deletion leaves what goes to whoever has the address now', async (t) => {
  const ada = await person()
  const heir = { ...(await stranger()), email: ada.email }
  const { id: userId, email, firstName } = heir
  await publish('userCreated', { userId, email, firstName, lastName: 'L', verificationToken: 'x' })
  await received(heir, 1)
  await sql`
    insert into notifications.outgoing (id, channel, "to", text, status)
    values (gen_random_uuid(), 'email', ${email}, 'To the address.', 'sent')`
  const owners = async () => {
    const rows = await sql`select user_id from notifications.outgoing where "to" = ${email} order by created_at, id`
    return rows.map((row) => row.user_id)
  }
  t.strictSame(await owners(), [ada.id, heir.id, null])
  await publish('userDeleted', { userId: ada.id })
  await until('the deletion', async () => (await list(ada)).body.data.length === 0)
  t.strictSame(await owners(), [heir.id])
})

t.test('who was deleted before anything was heard of them gets nothing', async (t) => {
  const ada = await stranger()
  await publish('userDeleted', { userId: ada.id })
  await publish('userCreated', {
    userId: ada.id,
    email: ada.email,
    firstName: 'Ada',
    lastName: 'L',
    verificationToken: 'x',
  })
  await settled()
  t.strictSame((await list(ada)).body.data, [])
  await until('nothing is left', async () => (await rowsWith(ada.email)).length === 0)
})
