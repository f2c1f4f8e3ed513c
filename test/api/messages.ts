import type { Test } from 'tap'
import { type Api, refused, until } from './client.ts'

/** Mail and text messages that are sent by hand. */
export async function messages(t: Test, api: Api): Promise<void> {
  const [admin, ada] = await Promise.all([api.admin(), api.register('Ada')])
  const token = admin.token
  const cases = {
    email: { to: ada.email, code: 'EmailNotFound', json: { userId: ada.id, subject: 'By hand', text: 'Words.' } },
    sms: { to: '+12025550123', code: 'SmsNotFound', json: { to: '+12025550123', text: 'Words.' } },
  }
  await api.target.smtp.mailTo(ada.email)
  for (const [channel, { to, json, code }] of Object.entries(cases)) {
    const path = `/api/${channel}`
    await t.test(`${path}: what is sent is accepted first, once for a key, and can be followed`, async (t) => {
      const ask = { token, headers: { 'idempotency-key': `${channel}-${ada.id}` } }
      const accepted = await api.post(path, json, ask)
      t.match([accepted.status, accepted.body.data], [202, { id: String, status: 'queued' }])
      const again = await api.post(path, json, ask)
      t.strictSame([again.body, again.headers['idempotency-replayed']], [accepted.body, 'true'])
      const { id } = accepted.body.data
      t.equal(accepted.headers.location, `${path}/${id}`)
      const sent = await until(
        () => api.get(`${path}/${id}`, { token }),
        ({ body }) => body.data.status === 'sent',
      )
      t.match(sent.body.data, { id, to, status: 'sent', attempts: 1, createdAt: /Z$/, sentAt: /Z$/ })
    })
    await t.test(`${path}: others may not, and what is not there is not found`, async (t) => {
      const forbidden = { status: 403, code: 'Forbidden', module: 'seam', path }
      refused(t, await api.post(path, json, { token: ada.token }), forbidden)
      const nowhere = `${path}/${ada.id}`
      refused(t, await api.get(nowhere, { token }), { status: 404, code, module: 'notifications', path: nowhere })
    })
  }
  t.equal(api.target.smtp.mails.filter(({ words }) => /^Subject: By hand/m.test(words)).length > 0, true)
}
