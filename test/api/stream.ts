import type { Test } from 'tap'
import { readEvents } from '../support/events.ts'
import { until } from '../support/until.ts'
import { type Api, refused } from './client.ts'

/** Notifications as they come. */
export async function stream(t: Test, api: Api): Promise<void> {
  const [ada, bob] = await Promise.all([api.register('Ada'), api.register('Bob')])
  const path = '/api/notifications/stream'
  const post = await api.post('/api/posts', { title: 'On streams', content: 'They flow.' }, { token: ada.token })
  const comment = (content: string) =>
    api.post(`/api/posts/${post.body.data.id}/comments`, { content }, { token: bob.token })

  await t.test('what happens is told at once, and who was away gets what they missed', async (t) => {
    const reader = await readEvents(api.target.url + path, { token: ada.token, lastId: '0' })
    t.match([reader.status, reader.headers['content-type']], [200, /^text\/event-stream\b/])
    const [welcome] = await reader.wait(1)
    t.match(welcome, { data: { kind: 'welcome' } })
    await comment('one')
    const [, first] = await reader.wait(2)
    t.match(first?.data.text, /: one$/)
    reader.leave()
    await comment('two')
    await until('the second is there', async () => {
      const { body } = await api.get('/api/notifications', { token: ada.token })
      return body.data.length >= 3
    })
    const resumed = await readEvents(api.target.url + path, { token: ada.token, lastId: first!.id })
    await comment('three')
    const texts = (await resumed.wait(2)).map(({ data }) => data.text.split(': ')[1])
    t.strictSame(texts, ['two', 'three'])
    resumed.leave()
  })

  await t.test('HEAD is answered, and nobody is refused', async (t) => {
    const { status, headers } = await api.send('HEAD', path, { token: ada.token })
    t.match([status, headers['content-type']], [200, /^text\/event-stream\b/])
    refused(t, await api.get(path), { status: 401, code: 'Unauthenticated', module: 'seam', path })
  })
}
