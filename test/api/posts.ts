import type { Test } from 'tap'
import { type Answer, type Api, refused } from './client.ts'

interface Post {
  id: string
  title: string
}

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
    t.equal((await api.get(`/api/posts/${id}`, { token: ada.token })).body.data.status, 'draft')
    for (const ask of [{}, { token: bob.token }, { cookie: bob.cookie }]) {
      const path = `/api/posts/${id}`
      refused(t, await api.get(path, ask), { status: 404, code: 'PostNotFound', module: 'posts', path })
    }
    const { body } = await api.get(`/api/posts?author=${ada.id}`, { token: ada.token })
    t.notOk(
      body.data.some((post: Post) => post.id === id),
      'lists have what is published',
    )
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
  })

  await t.test('HEAD is GET without the body', async (t) => {
    const { id } = await write(ada, { title: 'Head' })
    const [head, get] = await Promise.all([api.send('HEAD', `/api/posts/${id}`), api.get(`/api/posts/${id}`)])
    t.strictSame([head.status, head.text], [200, ''])
    t.equal(head.headers['content-length'], get.headers['content-length'])
  })
}
