import type { Test } from 'tap'
import { type Api, refused } from './client.ts'

interface Found {
  id: string
  snippet: string
}

export async function search(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const write = async (title: string, content: string, more: object = {}): Promise<string> =>
    (await api.post('/api/posts', { title, content, ...more }, ada)).body.data.id
  const find = async (q: string, more = ''): Promise<Found[]> => {
    const answer = await api.get(`/api/posts?author=${ada.id}&q=${encodeURIComponent(q)}${more}`)
    t.equal(answer.status, 200, q)
    return answer.body.data
  }
  const ids = async (q: string, more = '') => (await find(q, more)).map(({ id }) => id)

  const inContent = await write('Looms', 'The analytical engine weaves algebraic patterns, as a loom weaves flowers.')
  const inTitle = await write('Engines of our time', 'They are everywhere.', { tags: ['Steam Power'] })
  const far = await write('Notes', `Analytical minds. ${'Words. '.repeat(40)} An engine.`)
  const draft = await write('Engine draft', 'Not yet.', { status: 'draft' })

  await t.test('words are found in any form, the best first: title, then content, then tags', async (t) => {
    const found = await ids('ENGINES')
    t.strictSame([found[0], found.slice(1).sort()], [inTitle, [inContent, far].sort()])
    t.strictSame(await ids('analytical engine'), [inContent, far], 'all words, the closer together the better')
    t.strictSame(await ids('"analytical engine"'), [inContent])
    t.strictSame(await ids('engine -algebraic'), [inTitle, far])
    t.strictSame((await ids('flower or everywhere')).sort(), [inContent, inTitle].sort())
    t.strictSame(await ids('steam'), [inTitle], 'a tag')
    t.strictSame(await ids('engine', '&tag=steam+power'), [inTitle])
    t.strictSame(await ids('nothingofthekind'), [])
    t.notOk((await ids('engine')).includes(draft))
  })

  await t.test('a search that means nothing finds nothing', async (t) => {
    for (const q of [
      'the',
      '!!!',
      '"',
      '-',
      '""',
      'or',
      "'; drop table posts; --",
      '\\',
      '%',
      '<>',
      '🤷',
      '& | ! <->',
      ':*',
    ])
      t.strictSame(await ids(q), [], q)
    for (const q of ['', '+', '%00', 'x'.repeat(201)]) t.equal((await api.get(`/api/posts?q=${q}`)).status, 400, q)
  })

  await t.test('text of any language is found, and what stands around words makes no difference', async (t) => {
    const id = await write('Ünïcödé', 'She said “Straße”—and «Ἀθῆναι» (हिन्दी), read/write, 漢字。cafe\u0301!')
    for (const q of [
      'ÜNÏCÖDÉ',
      'straße',
      'ΑΘΗ̂ΝΑΙ or Ἀθῆναι',
      'हिन्दी',
      'write',
      '漢字',
      'CAFÉ',
      '“Straße”',
      'read-write',
    ])
      t.strictSame(await ids(q), [id], q)
  })

  await t.test('a snippet is text, and marks what was found', async (t) => {
    const content = `${'First words. '.repeat(60)}A <script>alert("found")</script> & a «mark» for <b>needles</b>. ${'Last. '.repeat(60)}`
    const id = await write('Haystack', content)
    const [hit] = await find('needle found')
    t.equal(hit!.id, id)
    t.match(hit!.snippet, '<script>alert("«found»")</script> & a ‹mark› for <b>«needles»</b>')
    t.ok(hit!.snippet.length < 500)
    const [title] = await find('haystack')
    t.notMatch(title!.snippet, /[«»]/, 'nothing is marked that was found in the title')
    const { body } = await api.get(`/api/posts/${id}`)
    t.equal(body.data.content, content)
    t.notOk('snippet' in body.data)
  })

  await t.test('pages go on where the one before ended, also among equals and while others write', async (t) => {
    const eve = await api.register('Eve')
    const writeBy = async (n: number) =>
      (await api.post('/api/posts', { title: `Zephyr ${n % 2 ? '' : 'zephyr'}`, content: 'C' }, eve)).body.data.id
    const written: string[] = []
    for (const n of [1, 2, 3, 4, 5]) written.push(await writeBy(n))
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body }: { body: any } = await api.get(
        `/api/posts?q=zephyr&author=${eve.id}&limit=2${cursor && `&cursor=${cursor}`}`,
      )
      seen.push(...body.data.map(({ id }: Found) => id))
      cursor = body.page.next
      if (seen.length === 2) await writeBy(2)
    }
    const [one, two, three, four, five] = written
    t.strictSame(seen, [four, two, five, three, one])
  })

  await t.test('a cursor is good for its own list only', async (t) => {
    const { body } = await api.get(`/api/posts?q=engine&author=${ada.id}&limit=1`)
    const list = await api.get(`/api/posts?author=${ada.id}&limit=1`)
    const path = '/api/posts'
    const refusal = { status: 400, code: 'BadInput', module: 'posts', path }
    for (const query of ['?q=loom', '', `?q=engine`, `?author=${ada.id}`, `?q=engine&author=${ada.id}&tag=x`]) {
      const answer = await api.get(`${path}${query || '?limit=5'}&cursor=${body.page.next}`)
      refused(t, answer, refusal, query)
    }
    refused(t, await api.get(`${path}?q=engine&author=${ada.id}&cursor=${list.body.page.next}`), refusal)
    t.equal((await api.get(`${path}?limit=9&cursor=${body.page.next}&author=${ada.id}&q=engine`)).status, 200)
  })
}
