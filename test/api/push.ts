import { createECDH, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { type Api, refused } from './client.ts'

/** Subscriptions of browsers; what they get is tested where a push service can be played. */
export async function push(t: Test, api: Api): Promise<void> {
  const [ada, eve] = await Promise.all([api.register('Ada'), api.register('Eve')])
  const path = '/api/push/subscriptions'

  await t.test('a browser subscribes with the key, and again, and ends it', async (t) => {
    const key = await api.get('/api/push/key')
    t.match([key.status, key.body.data.publicKey], [200, /^B[\w-]{86}$/])
    const known = { 'if-none-match': String(key.headers.etag) }
    t.equal((await api.get('/api/push/key', { headers: known })).status, 304)
    const keys = {
      p256dh: createECDH('prime256v1').generateKeys('base64url'),
      auth: randomBytes(16).toString('base64url'),
    }
    const subscription = { endpoint: `https://push.example.com/${ada.id}`, expirationTime: null, keys }
    const first = await api.post(path, subscription, { token: ada.token })
    t.match([first.status, first.body.data.endpoint], [201, subscription.endpoint])
    const again = await api.post(path, subscription, { token: ada.token })
    t.strictSame([again.status, again.body], [201, first.body])
    const one = `${path}/${first.body.data.id}`
    const { location, etag } = first.headers
    t.strictSame([location, again.headers.location, again.headers.etag], [one, one, etag])
    const forbidden = { status: 403, code: 'Forbidden', module: 'seam', path: one }
    refused(t, await api.send('DELETE', one, { token: eve.token }), forbidden)
    const stale = await api.send('DELETE', one, { token: ada.token, headers: { 'if-match': '"0"' } })
    refused(t, stale, { status: 412, code: 'PreconditionFailed', module: 'seam', path: one })
    const seen = { 'if-match': String(etag) }
    t.equal((await api.send('DELETE', one, { token: ada.token, headers: seen })).status, 204)
    const missing = { status: 404, code: 'SubscriptionNotFound', module: 'notifications', path: one }
    refused(t, await api.send('DELETE', one, { token: ada.token }), missing)
  })

  await t.test('what is no subscription is refused', async (t) => {
    const keys = { p256dh: 'x', auth: 'y' }
    const answer = await api.post(path, { endpoint: 'http://127.0.0.1/', keys }, { token: ada.token })
    refused(t, answer, { status: 400, code: 'BadInput', module: 'notifications', path })
  })
}
