import type { Test } from 'tap'
import { type Answer, type Api, type Ask, refused } from './client.ts'

interface Post {
  id: string
  title: string
}

const notFound = (path: string) => ({ status: 404, code: 'PostNotFound', module: 'posts', path })
const forbidden = (path: string) => ({ status: 403, code: 'Forbidden', module: 'seam', path })
const stale = (path: string) => ({ status: 412, code: 'PreconditionFailed', module: 'seam', path })

export async function posts(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const bob = await api.register('Bob')
  const write = async (user: { token: string }, json: object): Promise<Post> => {
    const answer = await api.post('/api/posts', { content: 'Some words.', ...json }, user)
    t.equal(answer.status, 201)
    return answer.body.data
  }

  await t.test('a draft exists for its author alone', async (t) => {
    const { id } = await write(ada, { title: 'Not yet', status: 'draft' })
    const path = `/api/posts/${id}`
    const own = await api.get(path, { token: ada.token })
    t.strictSame([own.status, own.body.data.status], [200, 'draft'])
    for (const ask of [{}, { token: bob.token }, { cookie: bob.cookie }])
      refused(t, await api.get(path, ask), notFound(path))
    for (const [method, below, ask] of [
      ['PATCH', '', { json: { title: 'Mine' } }],
      ['DELETE', '', {}],
      ['POST', '/publish', {}],
      ['GET', '/comments', {}],
      ['POST', '/comments', { json: { content: 'I see.' } }],
    ] as [string, string, Ask][]) {
      const answer = await api.send(method, path + below, { ...ask, token: bob.token })
      refused(t, answer, notFound(path + below), `${method} ${below}`)
    }
    const { body } = await api.get(`/api/posts?author=${ada.id}`, { token: ada.token })
    t.notOk(
      body.data.some((post: Post) => post.id === id),
      'lists have what is published',
    )
  })

  await t.test('an id in capitals is the same id', async (t) => {
    const { id } = await write(ada, { title: 'Known by its id' })
    const [one, same] = await Promise.all([id, id.toUpperCase()].map((id) => api.get(`/api/posts/${id}`)))
    t.strictSame([same!.status, same!.body, same!.headers.etag], [200, one!.body, one!.headers.etag])
  })

  await t.test("drafts are listed for their author, and nobody lists another's", async (t) => {
    const eve = await api.register('Eve')
    const draft = await write(eve, { title: 'Draft of the loom', status: 'draft', tags: ['looms'] })
    await write(eve, { title: 'Published' })
    const ids = async (query: string, ask: Ask) => {
      const answer = await api.get(`/api/posts?status=draft${query}`, ask)
      t.equal(answer.status, 200)
      return answer.body.data.map(({ id }: Post) => id)
    }
    for (const query of ['', `&author=${eve.id}`, '&tag=looms', '&q=loom', `&q=loom&tag=looms&author=${eve.id}`])
      t.strictSame(await ids(query, { token: eve.token }), [draft.id], query)
    t.strictSame(await ids('&q=engine', { token: eve.token }), [])
    t.strictSame(await ids(`&author=${eve.id}`, { token: bob.token }), [])
    const path = '/api/posts'
    refused(t, await api.get(`${path}?status=draft`), { status: 401, code: 'Unauthenticated', module: 'seam', path })
  })

  await t.test('a draft is published once, however often it is asked for', async (t) => {
    const { id } = await write(ada, { title: 'Soon', status: 'draft' })
    const path = `/api/posts/${id}`
    const [one, two] = await Promise.all([1, 2].map(() => api.send('POST', `${path}/publish`, { token: ada.token })))
    t.match([one!.status, two!.status, one!.body.data.status], [200, 200, 'published'])
    t.equal(one!.headers.etag, two!.headers.etag)
    const ifMatch = { 'if-match': '"x"' }
    const late = await api.send('POST', `${path}/publish`, { token: ada.token, headers: ifMatch })
    refused(t, late, stale(`${path}/publish`))
    t.strictSame((await api.get(path)).body, one!.body)
    const back = await api.send('PATCH', path, { token: ada.token, json: { status: 'draft' } })
    t.strictSame([back.status, back.body.data.status], [200, 'draft'])
    refused(t, await api.get(path), notFound(path))
  })

  await t.test('an author changes a post, whole or in part; others may not', async (t) => {
    const { id } = await write(ada, { title: 'Old', tags: ['one'] })
    const path = `/api/posts/${id}`
    const before = await api.get(path)
    const changed = await api.send('PATCH', path, { token: ada.token, json: { title: 'New', tags: ['Two'] } })
    t.match(changed.body.data, { id, title: 'New', tags: ['two'], content: 'Some words.', status: 'published' })
    t.ok(changed.body.data.updatedAt >= before.body.data.updatedAt)
    t.equal(changed.body.data.createdAt, before.body.data.createdAt)
    const after = await api.get(path)
    t.strictSame([after.body, after.headers.etag], [changed.body, changed.headers.etag])
    t.not(after.headers.etag, before.headers.etag)

    const json = { title: 'Taken over' }
    refused(t, await api.send('PATCH', path, { token: bob.token, json }), forbidden(path))
    refused(t, await api.send('POST', `${path}/publish`, { token: bob.token }), forbidden(`${path}/publish`))
    refused(t, await api.send('DELETE', path, { token: bob.token }), forbidden(path))
    const nobody = { status: 401, code: 'Unauthenticated', module: 'seam', path }
    refused(t, await api.send('PATCH', path, { json }), nobody)
    refused(t, await api.send('DELETE', path), nobody)
    for (const bad of [{}, { title: '' }, { author: bob.id }, { tags: ['<b>'] }, { status: 'gone' }])
      t.equal((await api.send('PATCH', path, { token: ada.token, json: bad })).status, 400, JSON.stringify(bad))
    t.equal((await api.get(path)).body.data.title, 'New')
  })

  await t.test('of two who change the same version one wins, and nothing is lost', async (t) => {
    const answer = await api.post('/api/posts', { title: 'Start', content: 'C' }, { token: ada.token })
    const { id } = answer.body.data
    const path = `/api/posts/${id}`
    const ifMatch = { 'if-match': String(answer.headers.etag) }
    const change = (json: object, headers = ifMatch) => api.send('PATCH', path, { token: ada.token, headers, json })
    const answers = await Promise.all([change({ title: 'One' }), change({ title: 'Two' }), change({ title: 'Three' })])
    const [won, ...more] = answers.filter(({ status }) => status === 200)
    t.equal(more.length, 0)
    for (const lost of answers.filter((answer) => answer !== won)) refused(t, lost, stale(path))
    const now = await api.get(path)
    t.strictSame([now.body, now.headers.etag], [won!.body, won!.headers.etag])
    refused(t, await api.send('DELETE', path, { token: ada.token, headers: ifMatch }), stale(path))
    t.equal((await change({ title: 'Four' }, { 'if-match': `"x", ${now.headers.etag}` })).status, 200)
    t.equal((await change({ title: 'Five' }, { 'if-match': '*' })).status, 200)

    const seen = String((await api.get(path)).headers.etag)
    const same = await api.get(path, { headers: { 'if-none-match': seen } })
    t.strictSame([same.status, same.text, same.headers.etag], [304, '', seen])
    t.equal((await api.get(path, { headers: { 'if-none-match': ifMatch['if-match'] } })).status, 200)
  })

  await t.test('a post is deleted by its author, with its comments', async (t) => {
    const { id } = await write(ada, { title: 'Gone soon', tags: ['going'] })
    const path = `/api/posts/${id}`
    const comment = await api.post(`${path}/comments`, { content: 'Stay!' }, { token: bob.token })
    const answer = await api.send('DELETE', path, { token: ada.token })
    t.strictSame([answer.status, answer.text], [204, ''])
    refused(t, await api.get(path), notFound(path))
    refused(t, await api.send('DELETE', path, { token: ada.token }), notFound(path))
    refused(t, await api.get(`${path}/comments`), notFound(`${path}/comments`))
    t.equal((await api.get(String(comment.headers.location))).status, 404)
    t.strictSame((await api.get('/api/posts?tag=going')).body.data, [])
  })

  await t.test('moderators delete what others have published, and find no drafts', async (t) => {
    const moderator = await api.admin('moderator')
    const { id } = await write(ada, { title: 'Spam' })
    const said = await api.post(`/api/posts/${id}/comments`, { content: 'Spam, too.' }, bob)
    for (const path of [String(said.headers.location), `/api/posts/${id}`]) {
      const json = { content: 'Not theirs.' }
      refused(t, await api.send('PATCH', path, { token: moderator.token, json }), forbidden(path))
      t.equal((await api.send('DELETE', path, { token: moderator.token })).status, 204)
    }
    const draft = await write(ada, { title: 'Secret', status: 'draft' })
    const path = `/api/posts/${draft.id}`
    for (const method of ['GET', 'DELETE'])
      refused(t, await api.send(method, path, { token: moderator.token }), notFound(path))
  })

  await t.test('a request that is repeated with its key writes one post', async (t) => {
    const eve = await api.register('Eve')
    const ask = { token: eve.token, headers: { 'idempotency-key': 'a key of one post'.replaceAll(' ', '-') } }
    const json = { title: 'Once', content: 'C' }
    const answers = await Promise.all([1, 2, 3, 4].map(() => api.post('/api/posts', json, ask)))
    for (const { status, body, headers } of answers) {
      t.strictSame([status, body], [201, answers[0]!.body])
      t.strictSame([headers.etag, headers.location], [answers[0]!.headers.etag, `/api/posts/${body.data.id}`])
    }
    t.equal(answers.filter(({ headers }) => headers['idempotency-replayed'] === 'true').length, 3)
    t.equal((await api.get(`/api/posts?author=${eve.id}`)).body.data.length, 1)
    const other = await api.post('/api/posts', { ...json, title: 'Twice' }, ask)
    refused(t, other, { status: 422, code: 'IdempotencyKeyReused', module: 'seam', path: '/api/posts' })
  })

  await t.test('all pages together have each post once, newest first, also while others write', async (t) => {
    const written: string[] = []
    for (let n = 1; n <= 7; n++) written.unshift((await write(bob, { title: `Page ${n}` })).id)
    const seen: string[] = []
    let path: string | null = `/api/posts?author=${bob.id}&limit=3`
    let turns = 0
    while (path) {
      const answer: Answer = await api.get(path)
      t.match([answer.status, answer.body.page.limit], [200, 3])
      seen.push(...answer.body.data.map(({ id }: Post) => id))
      const link = answer.headers.link as string | undefined
      const next = answer.body.page.next as string | null
      t.equal(link ?? null, next && `<${path.replace(/&cursor=.*/, '')}&cursor=${next}>; rel="next"`, 'Link')
      path = link ? (/^<([^>]+)>/.exec(link)?.[1] ?? null) : null
      await write(bob, { title: `Meanwhile ${++turns}` })
    }
    t.equal(turns, 3)
    t.strictSame(seen, written)
  })

  await t.test('the last page is the last, also when it is full or empty', async (t) => {
    const eve = await api.register('Eve')
    const empty = await api.get(`/api/posts?author=${eve.id}`)
    t.strictSame(empty.body, { data: [], page: { next: null, limit: 20 } })
    for (const title of ['One', 'Two']) await write(eve, { title })
    const full = await api.get(`/api/posts?author=${eve.id}&limit=2`)
    t.match(full.body, { data: [{ title: 'Two' }, { title: 'One' }], page: { next: null, limit: 2 } })
    t.notOk(full.headers.link)
  })

  await t.test('lists filter by author, by tag, and by both', async (t) => {
    const eve = await api.register('Eve')
    const tag = `weaving ${eve.id.slice(-12)}`
    const both = await write(eve, { title: 'Both', tags: ['looms', tag] })
    const own = await write(eve, { title: 'Own', tags: ['looms'] })
    const tagged = await write(ada, { title: 'Tagged', tags: [tag] })
    const ids = async (query: string) => {
      const answer = await api.get(`/api/posts?${query}`)
      t.equal(answer.status, 200)
      return answer.body.data.map(({ id }: Post) => id)
    }
    const param = `tag=${encodeURIComponent(tag)}`
    t.strictSame(await ids(param), [tagged.id, both.id])
    t.strictSame(await ids(`tag=${tag.replace(' ', '+')}`), [tagged.id, both.id], 'a plus is a space')
    t.strictSame(await ids(`author=${eve.id}`), [own.id, both.id])
    t.strictSame(await ids(`author=${eve.id}&${param}`), [both.id])
    t.strictSame(await ids(`author=01900000-0000-7000-8000-000000000000&${param}`), [], 'an author that nobody is')
  })

  await t.test('text of any language comes back as it was sent', async (t) => {
    const text = 'Ünïcödé 漢字 עברית 👩‍👩‍👧 \u2028 <b>&amp;</b> \\u0000 %00 \' " ; drop table posts; --'
    const { id } = await write(ada, { title: text, content: `${text}\n\t${text}`, tags: ['日本語'] })
    const { body } = await api.get(`/api/posts/${id}`)
    t.match(body.data, { title: text, content: `${text}\n\t${text}`, tags: ['日本語'] })
    const tagged = await api.get(`/api/posts?limit=1&tag=${encodeURIComponent('日本語')}`)
    t.equal(tagged.body.data[0].id, id)
  })

  await t.test('a post with the longest fields that are allowed is taken', async (t) => {
    const tags = Array.from({ length: 20 }, (_, n) => `${n}`.padEnd(50, 't'))
    const { id } = await write(ada, { title: 'x'.repeat(200), content: 'ü'.repeat(100_000), tags })
    const { body } = await api.get(`/api/posts/${id}`)
    t.strictSame([body.data.title.length, body.data.content.length, body.data.tags], [200, 100_000, tags])
    // Words beyond any dictionary, each other than the one before, of characters that take four bytes.
    const words = Array.from({ length: 25_000 }, (_, n) => String.fromCodePoint(0x20000 + n, 0x2a6d0 - n)).join('-')
    await write(ada, { title: words.slice(0, 200), content: words.slice(0, 100_000) })
  })

  await t.test('HEAD is GET without the body', async (t) => {
    const { id } = await write(ada, { title: 'Head' })
    const [head, get] = await Promise.all([api.send('HEAD', `/api/posts/${id}`), api.get(`/api/posts/${id}`)])
    t.strictSame([head.status, head.text], [200, ''])
    t.equal(head.headers['content-length'], get.headers['content-length'])
  })
}
