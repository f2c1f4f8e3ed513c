import type { Test } from 'tap'
import { type Api, refused, until } from './client.ts'

export async function tags(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  // A prefix that nobody else has.
  const own = `z${ada.id.slice(-12)}`
  const write = async (json: object): Promise<string> =>
    (await api.post('/api/posts', { title: 'T', content: 'C', ...json }, ada)).body.data.id
  const counts = async (query = '') => {
    const answer = await api.get(`/api/tags?prefix=${own}${query}`)
    t.equal(answer.status, 200)
    return answer.body.data as { name: string; count: number }[]
  }
  const become = async (expected: Record<string, number>, what: string) => {
    const wanted = Object.entries(expected).map(([name, count]) => ({ name: own + name, count }))
    const found = await until(counts, (found) => JSON.stringify(found) === JSON.stringify(wanted))
    t.strictSame(found, wanted, what)
  }
  await t.test('tags are counted as everybody sees them: what is published', async (t) => {
    const one = await write({ tags: [`${own} Weaving`, `${own}  weaving`, `${own}c++`, own.toUpperCase()] })
    const two = await write({ tags: [`${own} weaving`] })
    const draft = await write({ tags: [`${own} weaving`, `${own} hidden`], status: 'draft' })
    await write({ tags: ['other'] })
    const { body } = await api.get(`/api/posts/${one}`)
    t.strictSame(body.data.tags, [`${own} weaving`, `${own}c++`, own], 'in lower case, each once')
    for (const tag of [`${own} weaving`, `${own} WEAVING`]) {
      const listed = await api.get(`/api/posts?tag=${encodeURIComponent(tag)}`)
      t.strictSame(
        listed.body.data.map(({ id }: { id: string }) => id),
        [two, one],
      )
    }
    await write({ tags: [`${own} looms`, ...['a', 'b', 'é', '漢'].map((name) => `y${own}${name}`)] })
    await api.send('POST', `/api/posts/${draft}/publish`, { token: ada.token })
    await api.send('PATCH', `/api/posts/${one}`, { token: ada.token, json: { tags: [`${own} looms`] } })
    await api.send('DELETE', `/api/posts/${two}`, { token: ada.token })
    await become({ ' hidden': 1, ' looms': 2, ' weaving': 1 }, 'published, changed, deleted')
    await api.send('PATCH', `/api/posts/${draft}`, { token: ada.token, json: { status: 'draft' } })
    await become({ ' looms': 2 }, 'a draft again')
  })

  await t.test('they are listed by name, in pages', async (t) => {
    const names = ['a', 'b', 'é', '漢'].map((name) => `y${own}${name}`)
    const one = await api.get(`/api/tags?limit=3&prefix=Y${own.toUpperCase()}`)
    const query = new URLSearchParams({ limit: '3', prefix: `y${own}`, cursor: one.body.page.next })
    const two = await api.get(`/api/tags?${query}`)
    const seen = [one, two].flatMap(({ body }) => body.data.map(({ name }: { name: string }) => name))
    t.strictSame([seen, two.body.page.next], [names, null])
    const other = await api.get(`/api/tags?prefix=x&cursor=${one.body.page.next}`)
    refused(t, other, { status: 400, code: 'BadInput', module: 'posts', path: '/api/tags' }, 'a cursor of another list')
    for (const prefix of ['%25', '_', '%5C', "'"]) t.strictSame(await counts(prefix), [], 'no pattern')
    t.equal((await api.get('/api/tags?prefix=a%00')).status, 400)
    t.equal((await api.get(`/api/tags?prefix=${'x'.repeat(51)}`)).status, 400)
  })
}
