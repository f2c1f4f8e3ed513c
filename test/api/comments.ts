import type { Test } from 'tap'
import { type Answer, type Api, type Ask, refused } from './client.ts'

interface Comment {
  id: string
  content: string
}

const NOBODY = '01900000-0000-7000-8000-000000000000'

export async function comments(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const bob = await api.register('Bob')
  const write = async (json: object = {}): Promise<string> => {
    const answer = await api.post('/api/posts', { title: 'On engines', content: 'They weave.', ...json }, ada)
    t.equal(answer.status, 201)
    return answer.body.data.id
  }
  const say = (post: string, content: string, ask: Ask = bob) =>
    api.post(`/api/posts/${post}/comments`, { content }, ask)

  await t.test('a comment is written, read, changed and deleted', async (t) => {
    const post = await write()
    const made = await say(post, 'Ünïcödé 漢字 👩‍👩‍👧 <script>alert(1)</script>')
    t.match([made.status, made.body.data], [201, { postId: post, author: { id: bob.id, firstName: 'Bob' } }])
    const path = `/api/comments/${made.body.data.id}`
    t.equal(made.headers.location, path)
    const read = await api.get(path)
    t.strictSame([read.status, read.body, read.headers.etag], [200, made.body, made.headers.etag])
    t.equal((await api.get(path, { headers: { 'if-none-match': String(read.headers.etag) } })).status, 304)

    const changed = await api.send('PATCH', path, { token: bob.token, json: { content: 'Better.' } })
    t.match([changed.status, changed.body.data], [200, { content: 'Better.', createdAt: made.body.data.createdAt }])
    const stale = { token: bob.token, headers: { 'if-match': String(made.headers.etag) } }
    const refusal = { status: 412, code: 'PreconditionFailed', module: 'seam', path }
    refused(t, await api.send('PATCH', path, { ...stale, json: { content: 'Lost.' } }), refusal)
    refused(t, await api.send('DELETE', path, stale), refusal)
    t.strictSame((await api.get(path)).body, changed.body)

    const gone = await api.send('DELETE', path, { token: bob.token })
    t.strictSame([gone.status, gone.text], [204, ''])
    refused(t, await api.get(path), { status: 404, code: 'CommentNotFound', module: 'posts', path })
  })

  await t.test('who has not written it may read it, and no more', async (t) => {
    const { id } = (await say(await write(), 'Mine.')).body.data
    const path = `/api/comments/${id}`
    const forbidden = { status: 403, code: 'Forbidden', module: 'seam', path }
    const json = { content: 'Yours.' }
    refused(t, await api.send('PATCH', path, { token: ada.token, json }), forbidden)
    refused(t, await api.send('DELETE', path, { token: ada.token }), forbidden, 'not even who wrote the post')
    t.equal((await api.send('PATCH', path, { json })).status, 401)
    t.equal((await api.send('DELETE', path)).status, 401)
    t.equal((await api.get(path)).body.data.content, 'Mine.')
  })

  await t.test('pages are oldest first, also while others write', async (t) => {
    const post = await write()
    const written: string[] = []
    for (const n of [1, 2, 3, 4, 5]) written.push((await say(post, `${n}`)).body.data.id)
    const seen: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const answer: Answer = await api.get(`/api/posts/${post}/comments?limit=2${next && `&cursor=${next}`}`)
      t.equal(answer.status, 200)
      seen.push(...answer.body.data.map(({ id }: Comment) => id))
      next = answer.body.page.next
      if (seen.length === 2) written.push((await say(post, 'meanwhile')).body.data.id)
    }
    t.strictSame(seen, written)
    const other = await write()
    t.strictSame((await api.get(`/api/posts/${other}/comments`)).body, { data: [], page: { next: null, limit: 20 } })
    const { body } = await api.get(`/api/posts/${post}/comments?limit=2`)
    const path = `/api/posts/${other}/comments`
    const answer = await api.get(`${path}?cursor=${body.page.next}`)
    refused(t, answer, { status: 400, code: 'BadInput', module: 'posts', path }, 'a cursor of another post')
  })

  await t.test('comments on a draft are for its author alone, also when it was published before', async (t) => {
    const post = await write()
    const comment = await say(post, 'Seen.')
    await api.send('PATCH', `/api/posts/${post}`, { token: ada.token, json: { status: 'draft' } })
    const list = `/api/posts/${post}/comments`
    const path = String(comment.headers.location)
    const missing = { status: 404, code: 'CommentNotFound', module: 'posts', path }
    refused(t, await api.get(list, bob), { status: 404, code: 'PostNotFound', module: 'posts', path: list })
    refused(t, await say(post, 'Still here?'), { status: 404, code: 'PostNotFound', module: 'posts', path: list })
    for (const ask of [{}, { token: bob.token }]) refused(t, await api.get(path, ask), missing)
    const json = { content: 'Changed.' }
    refused(t, await api.send('PATCH', path, { token: bob.token, json }), missing)
    refused(t, await api.send('DELETE', path, { token: bob.token }), missing)
    t.equal((await say(post, 'To myself.', ada)).status, 201)
    t.equal((await api.get(list, ada)).body.data.length, 2)
    await api.send('POST', `/api/posts/${post}/publish`, { token: ada.token })
    t.equal((await api.get(path)).status, 200)
  })

  await t.test('what is wrong is refused', async (t) => {
    const post = await write()
    for (const content of ['', ' \n', 'x'.repeat(10_001), 'a\0', 7, null])
      t.equal((await api.post(`/api/posts/${post}/comments`, { content }, bob)).status, 400, JSON.stringify(content))
    t.equal((await say(post, 'x'.repeat(10_000))).status, 201)
    t.equal((await say(post, `${'👩‍👩‍👧'.repeat(100)}`)).status, 201, 'an excerpt cuts no character in half')
    t.equal((await api.post(`/api/posts/${post}/comments`, { content: 'x' })).status, 401)
    const path = `/api/posts/${NOBODY}/comments`
    for (const answer of [await say(NOBODY, 'x'), await api.get(path)])
      refused(t, answer, { status: 404, code: 'PostNotFound', module: 'posts', path })
  })

  await t.test('a request that is repeated with its key writes one comment', async (t) => {
    const post = await write()
    const ask = { ...bob, headers: { 'idempotency-key': `comment-${post}` } }
    const answers = await Promise.all([1, 2, 3].map(() => say(post, 'Once.', ask)))
    for (const { status, body } of answers) t.strictSame([status, body], [201, answers[0]!.body])
    t.equal((await api.get(`/api/posts/${post}/comments`)).body.data.length, 1)
  })
}
