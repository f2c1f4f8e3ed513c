import t from 'tap'
import { pace } from '../../../src/modules/notifications/delivery.ts'
import { type Answer, refused } from '../../api/client.ts'
import { scene } from '../../support/bystanders.ts'
import { type Reply, startEndpoint } from '../../support/endpoint.ts'
import { until } from '../../support/until.ts'

Object.assign(pace, { attempts: 4, pause: 0.001, look: 50 })

const provider = await startEndpoint()
t.teardown(() => provider.close())
const url = new URL('/messages?account=7', provider.url)
url.username = 'key'
url.password = 'secret'
const s = await scene(t, { env: { SMS_URL: url.href } })
const admin = await s.stranger(['admin'])

let numbers = 0
const someone = () => `+1202555${String(++numbers).padStart(4, '0')}`
const send = (sms: object) => s.api.post('/api/sms', { text: 'Words.', ...sms }, admin)
const got = (to: string) => provider.received.filter(({ body }) => JSON.parse(String(body)).to === to)
const became = (answer: Answer, status: string) =>
  until(`the text message is ${status}`, async () => {
    const { body } = await s.api.get(`/api/sms/${answer.body.data.id}`, admin)
    return body.data.status === status && body.data
  })
const replies = (...all: Reply[]) => provider.replies('/messages?account=7', ...all)

t.test('a text message is handed to the provider, with its id and the credentials of the URL', async (t) => {
  const to = someone()
  const answer = await send({ to, text: 'Grüße' })
  t.match([answer.status, answer.body], [202, { data: { id: /^[0-9a-f-]{36}$/, status: 'queued' } }])
  const { id } = answer.body.data
  t.equal(answer.headers.location, `/api/sms/${id}`)
  t.match(await became(answer, 'sent'), { id, to, attempts: 1, sentAt: /Z$/ })
  const { headers, body } = got(to)[0]!
  t.strictSame(JSON.parse(String(body)), { id, to, text: 'Grüße' })
  t.match(headers, {
    'idempotency-key': id,
    'content-type': 'application/json',
    authorization: `Basic ${Buffer.from('key:secret').toString('base64')}`,
  })
})

t.test('a provider that fails for now is asked again, under the same key', async (t) => {
  const to = someone()
  replies(500, 429, 'drop')
  const answer = await send({ to })
  t.match(await became(answer, 'sent'), { attempts: 4 })
  const keys = got(to).map(({ headers }) => headers['idempotency-key'])
  t.strictSame(keys, Array(4).fill(answer.body.data.id))
})

t.test('a provider that refuses a message is not asked again', async (t) => {
  const to = someone()
  replies(422)
  t.match(await became(await send({ to }), 'failed'), { attempts: 1, lastError: /422/ })
  t.equal(got(to).length, 1)
})

t.test('a provider is not asked before the time that it has named', async (t) => {
  const to = someone()
  replies({ status: 503, headers: { 'retry-after': '1' } })
  const started = performance.now()
  t.match(await became(await send({ to }), 'sent'), { attempts: 2 })
  const took = performance.now() - started
  t.ok(took > 1_000, `${Math.round(took)} ms`)
})

t.test('a provider that says nothing, or too much, is left', async (t) => {
  const to = someone()
  Object.assign(pace, { patience: 300 })
  t.teardown(() => Object.assign(pace, { patience: 30_000 }))
  replies('silence', { status: 500, bytes: 1_000_000 })
  t.match(await became(await send({ to }), 'sent'), { attempts: 3 })
})

t.test('a redirect leads nowhere', async (t) => {
  const to = someone()
  replies(...Array(4).fill({ status: 307, headers: { location: `${provider.url}/elsewhere` } }))
  t.match(await became(await send({ to }), 'failed'), { attempts: 4, lastError: /307/ })
  t.notOk(provider.received.some(({ path }) => path === '/elsewhere'))
})

t.test('a text message for a user goes to their phone, if there is one', async (t) => {
  const ada = await s.stranger()
  const unknown = { status: 409, code: 'RecipientUnknown', module: 'notifications', path: '/api/sms' }
  refused(t, await send({ userId: ada.id }), unknown)
  const on = { inApp: true, email: true, push: true, sms: true }
  const phone = someone()
  await s.api.send('PUT', '/api/notifications/preferences', {
    ...ada,
    json: { phone, kinds: { welcome: on, comment: on } },
  })
  t.match(await became(await send({ userId: ada.id }), 'sent'), { to: phone })
  await s.comment(ada, 'x'.repeat(400))
  const [notice] = await until('the notice', () => got(phone).length > 1 && got(phone).slice(1))
  t.match(JSON.parse(String(notice?.body)).text, /^Bob has commented on “On engines”: x{200,300}…$/)
})

t.test('only some may send text messages, and only to numbers', async (t) => {
  const ada = await s.stranger()
  const path = '/api/sms'
  const refusal = { status: 403, code: 'Forbidden', module: 'seam', path }
  refused(t, await s.api.post(path, { to: someone(), text: 'T' }, ada), refusal)
  for (const sms of [
    {},
    { to: '12025550123' },
    { to: '+1 202' },
    { to: someone(), userId: ada.id },
    { to: someone(), text: '' },
  ])
    t.equal((await send(sms)).status, 400, JSON.stringify(sms))
  const nowhere = `${path}/${ada.id}`
  const missing = { status: 404, code: 'SmsNotFound', module: 'notifications', path: nowhere }
  refused(t, await s.api.get(nowhere, admin), missing)
})
