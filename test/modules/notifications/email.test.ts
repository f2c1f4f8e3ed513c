import postgres from 'postgres'
import t from 'tap'
import { pace } from '../../../src/modules/notifications/delivery.ts'
import { noticeLetter, welcomeLetter } from '../../../src/modules/notifications/letters.ts'
import { type Answer, refused } from '../../api/client.ts'
import { type Scene, scene } from '../../support/bystanders.ts'
import { startSmtp } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

Object.assign(pace, { attempts: 4, pause: 0.001, look: 50 })

const smtp = await startSmtp()
t.teardown(() => smtp.close())
const s = await scene(t, { smtp })
const admin = await s.stranger(['admin'])

let addresses = 0
const someone = () => `someone.${++addresses}@example.com`
const send = (mail: object, { api }: Scene = s) =>
  api.post('/api/email', { subject: 'News', text: 'Words.', ...mail }, admin)
const get = (id: string) => s.api.get(`/api/email/${id}`, admin)
const became = (answer: Answer, status: string) =>
  until(`the mail is ${status}`, async () => {
    const { body } = await get(answer.body.data.id)
    return body.data.status === status && body.data
  })
const messageIds = (address: string) =>
  smtp.mails.filter(({ to }) => to.includes(address)).map((mail) => mail.messageId)

t.test('a mail is accepted, sent, and known', async (t) => {
  const to = someone()
  const answer = await send({ to, html: '<p>Words.</p>' })
  t.match([answer.status, answer.body], [202, { data: { id: /^[0-9a-f-]{36}$/, status: 'queued' } }])
  const { id } = answer.body.data
  t.equal(answer.headers.location, `/api/email/${id}`)
  const mail = await smtp.mailTo(to)
  t.match(mail.words, /^Subject: News\r?$/m)
  t.match(mail.words, '<p>Words.</p>')
  t.equal(mail.messageId, `<${id}@localhost>`)
  const sent = await became(answer, 'sent')
  t.match(sent, { id, to, subject: 'News', attempts: 1, sentAt: /Z$/, createdAt: /Z$/ })
  t.notOk('lastError' in sent)
  const { headers } = await get(id)
  const known = await s.api.get(`/api/email/${id}`, { ...admin, headers: { 'if-none-match': String(headers.etag) } })
  t.equal(known.status, 304)
})

t.test('a mail for a user goes to the address that is known of them', async (t) => {
  const ada = await s.person()
  await smtp.mailTo(ada.email)
  const answer = await send({ userId: ada.id, subject: 'For you' })
  t.equal(answer.status, 202)
  t.match((await became(answer, 'sent')).to, ada.email)
  refused(t, await send({ userId: admin.id }), {
    status: 409,
    code: 'RecipientUnknown',
    module: 'notifications',
    path: '/api/email',
  })
})

t.test('a mail that is put off, dropped, or refused for now is sent again, under the same id', async (t) => {
  const to = someone()
  smtp.mishaps(to, { recipient: 451 }, { mail: 452 }, 'drop')
  const answer = await send({ to })
  const sent = await became(answer, 'sent')
  t.equal(sent.attempts, 4)
  t.strictSame(messageIds(to), [`<${answer.body.data.id}@localhost>`])
})

t.test('a mail that has left, which cannot be noted, is not sent again at once', async (t) => {
  const to = someone()
  const sql = postgres(s.databaseUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql.unsafe(`
    create sequence notifications.refused;
    create function notifications.refuse() returns trigger language plpgsql security definer as $$
      begin perform nextval('notifications.refused'); raise 'It is not to be noted.'; end $$;
    create trigger refuses before update on notifications.outgoing
      for each row when (new."to" = '${to}' and new.status = 'sent') execute function notifications.refuse()`)
  const { id } = (await send({ to })).body.data
  await until('it was to be noted', async () => (await sql`select is_called from notifications.refused`)[0]!.is_called)
  await became(await send({ to: someone() }), 'sent')
  t.match((await get(id)).body.data, { status: 'queued', attempts: 1, lastError: undefined })
  t.equal(messageIds(to).length, 1)
  await sql`drop trigger refuses on notifications.outgoing`
  await sql`update notifications.outgoing set due_at = now() where id = ${id}`
  t.equal((await became({ body: { data: { id } } } as Answer, 'sent')).attempts, 2, 'but when the lease is over')
})

t.test('a mail that a server takes and does not confirm comes twice, with one Message-ID', async (t) => {
  const to = someone()
  // It has the mail; the connection ends before it can say so.
  smtp.mishaps(to, 'take and drop')
  await became(await send({ to }), 'sent')
  const ids = messageIds(to)
  t.equal(ids.length, 2)
  t.equal(new Set(ids).size, 1)
})

t.test('what went wrong can be seen while it is tried again', async (t) => {
  const to = someone()
  Object.assign(pace, { pause: 60 })
  t.teardown(() => Object.assign(pace, { pause: 0.001 }))
  smtp.mishaps(to, { recipient: 450 })
  const answer = await send({ to })
  const { body } = await until('an attempt', async () => {
    const answered = await get(answer.body.data.id)
    return answered.body.data.lastError && answered
  })
  t.match(body.data, { status: 'queued', attempts: 1, lastError: /450/ })
})

t.test('a recipient that is refused for good is not asked for again', async (t) => {
  const mishaps = [{ recipient: 550 }, { mail: 554 }]
  for (const mishap of mishaps) {
    const to = someone()
    smtp.mishaps(to, mishap)
    const failed = await became(await send({ to }), 'failed')
    t.match(failed, { attempts: 1, lastError: /55[04]/ })
    t.strictSame(messageIds(to), [])
  }
})

t.test('a mail that is put off too often has failed', async (t) => {
  const to = someone()
  smtp.mishaps(to, ...Array(9).fill({ recipient: 450 }))
  t.match(await became(await send({ to }), 'failed'), { attempts: 4, lastError: /450/ })
})

t.test('a server that does not answer in time is asked again', async (t) => {
  const to = someone()
  Object.assign(pace, { patience: 300 })
  t.teardown(() => Object.assign(pace, { patience: 30_000 }))
  smtp.mishaps(to, { delay: 60_000 })
  t.match(await became(await send({ to }), 'sent'), { attempts: 2 })
  t.equal(messageIds(to).length, 1)
})

t.test('one slow mail does not hold back the others', async (t) => {
  const slow = someone()
  smtp.mishaps(slow, { delay: 1_000 })
  const answer = await send({ to: slow })
  await until('the slow one is under way', async () => (await get(answer.body.data.id)).body.data.attempts === 1)
  const others = [someone(), someone(), someone()]
  for (const to of others) await send({ to })
  for (const to of others) await smtp.mailTo(to)
  t.strictSame(messageIds(slow), [], 'they came before it')
  await became(answer, 'sent')
})

t.test('the same Idempotency-Key sends one mail', async (t) => {
  const to = someone()
  const ask = { ...admin, headers: { 'idempotency-key': `mail-${to}` } }
  const mail = { to, subject: 'Once', text: 'Words.' }
  const first = await s.api.post('/api/email', mail, ask)
  const again = await s.api.post('/api/email', mail, ask)
  t.strictSame([again.status, again.body], [first.status, first.body])
  t.equal(again.headers['idempotency-replayed'], 'true')
  await became(first, 'sent')
  t.equal(messageIds(to).length, 1)
})

t.test('only some may send mail, and only mail that is one', async (t) => {
  const ada = await s.stranger()
  const path = '/api/email'
  refused(t, await s.api.post(path, { to: someone(), subject: 'S', text: 'T' }, ada), {
    status: 403,
    code: 'Forbidden',
    module: 'seam',
    path,
  })
  const bad: object[] = [
    { to: undefined },
    { to: someone(), userId: ada.id },
    { to: 'a@example.com, b@example.com' },
    { to: 'a@example.com\r\nBcc: b@example.com' },
    { to: '"a" <a@example.com>' },
    { to: someone(), subject: 'One\r\nBcc: b@example.com' },
    { to: someone(), subject: ' ' },
    { to: someone(), text: '' },
    { to: someone(), subject: 'x'.repeat(201) },
    { to: someone(), attachments: [] },
  ]
  for (const mail of bad) {
    const answer = await send(mail)
    t.match([answer.status, answer.body.code], [400, 'BadInput'], JSON.stringify(mail))
  }
  const nowhere = `${path}/${ada.id}`
  refused(t, await s.api.get(nowhere, admin), {
    status: 404,
    code: 'EmailNotFound',
    module: 'notifications',
    path: nowhere,
  })
})

t.test('without SMTP_URL mail is kept in the database, and counts as sent', async (t) => {
  const quiet = await scene(t)
  const own = await quiet.stranger(['admin'])
  const { body } = await quiet.api.post('/api/email', { to: someone(), subject: 'Kept', text: 'Words.' }, own)
  const sent = await until('it is sent', async () => {
    const answer = await quiet.api.get(`/api/email/${body.data.id}`, own)
    return answer.body.data.status === 'sent' && answer.body.data
  })
  t.match(sent, { attempts: 1, sentAt: /Z$/ })
})

t.test('a server that cannot be reached or hangs does not keep a process from ending', async (t) => {
  const own = await startSmtp()
  t.teardown(() => own.close())
  const other = await scene(t, { smtp: own })
  const somebody = await other.stranger(['admin'])
  const to = someone()
  own.mishaps(to, { delay: 60_000 })
  const { body } = await other.api.post('/api/email', { to, subject: 'S', text: 'T' }, somebody)
  await until('it is under way', async () => {
    const answer = await other.api.get(`/api/email/${body.data.id}`, somebody)
    return answer.body.data.attempts === 1
  })
  const started = performance.now()
  await other.close()
  const took = performance.now() - started
  t.ok(took < 5_000, `${Math.round(took)} ms`)
})

t.test('letters: nothing that users write gets into HTML or a header as it is', async (t) => {
  const welcome = welcomeLetter({
    firstName: '<img src=x onerror="a">&',
    token: 'a b',
    appUrl: 'https://app.example.com/',
  })
  t.match(welcome.html, '&lt;img src=x onerror=&quot;a&quot;&gt;&amp;')
  t.match(welcome.html, 'href="https://app.example.com/verify-email?token=a%20b"')
  t.match(welcome.text, 'https://app.example.com/verify-email?token=a%20b\n')
  const notice = noticeLetter(`Eve has commented on “a\r\nBcc: x@example.com”: ${'x'.repeat(300)}`)
  t.equal(notice.subject.length, 150)
  t.notMatch(notice.subject, /[\r\n]/)
})
