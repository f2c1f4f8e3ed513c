import type { Test } from 'tap'
import { type Api, refused, until } from './client.ts'

export async function notifications(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const bob = await api.register('Bob')
  const list = (token: string, query = '') => api.get(`/api/notifications${query}`, { token })

  await t.test('everybody sees their own notifications', async (t) => {
    for (const [token, name] of [
      [ada.token, 'Ada'],
      [bob.token, 'Bob'],
    ] as const) {
      const { body } = await until(
        () => list(token),
        ({ body }) => body.data.length > 0,
      )
      t.strictSame(
        body.data.map(({ text }: { text: string }) => text),
        [`Welcome to Seam, ${name}!`],
      )
    }
  })

  await t.test('unread can be asked for', async (t) => {
    const all = await list(ada.token)
    t.strictSame((await list(ada.token, '?unread=true')).body, all.body)
    t.strictSame((await list(ada.token, '?unread=false')).body, all.body)
  })

  await t.test("a cursor of another module's list is refused", async (t) => {
    for (const title of ['One', 'Two']) await api.post('/api/posts', { title, content: 'Words.' }, bob)
    const { body } = await api.get(`/api/posts?author=${bob.id}&limit=1`)
    t.ok(body.page.next)
    const answer = await list(bob.token, `?cursor=${body.page.next}`)
    refused(t, answer, { status: 400, code: 'BadInput', module: 'notifications', path: '/api/notifications' })
  })
}
