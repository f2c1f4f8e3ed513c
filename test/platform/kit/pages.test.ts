import pino from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { createServer } from '../../../src/platform/host/http/server.ts'
import { signedCursors } from '../../../src/platform/host/identity/cursors.ts'
import { Id, Instant, Page, PageQuery, page, Resource } from '../../../src/platform/kit/pages.ts'

const cursors = signedCursors('a secret that only these tests know, of enough length', 'numbers')
const total = 45

/** A collection of the numbers below 45, served as modules serve theirs. */
const server = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
server.get(
  '/api/numbers',
  { schema: { querystring: PageQuery, response: { 200: Page(Type.Object({ n: Type.Integer() })) } } },
  async (request, reply) => {
    const { limit, cursor } = request.query as PageQuery
    const from = cursor === undefined ? 0 : Number(cursors.read(cursor)) + 1
    const rows = Array.from({ length: Math.min(limit + 1, total - from) }, (_, index) => ({ n: from + index }))
    return page(request, reply, { cursors, rows, limit, position: ({ n }) => String(n) })
  },
)
server.get(
  '/api/number',
  { schema: { response: { 200: Resource(Type.Object({ id: Id, at: Instant })) } } },
  async () => ({
    data: { id: '01890000-0000-7000-8000-000000000001', at: '2026-01-02T03:04:05.678Z' },
  }),
)
t.teardown(() => server.close())

interface Answer {
  status: number
  link: string | undefined
  body: {
    data: { n: number }[]
    page: { next: string | null; limit: number }
    errors: { path: string }[]
    code: string
  }
}

async function get(url: string): Promise<Answer> {
  const answer = await server.inject(url)
  return { status: answer.statusCode, link: answer.headers.link as string | undefined, body: answer.json() }
}

/** Where the Link header says that the next page is. */
const nextOf = (link: string) => /^<([^>]+)>; rel="next"$/.exec(link)![1]!

t.test('a page has twenty entries unless the query says how many', async (t) => {
  const { body } = await get('/api/numbers')
  t.equal(body.data.length, 20)
  t.equal(body.page.limit, 20)
  for (const limit of [1, 2, 44, 45, 100]) {
    const { body } = await get(`/api/numbers?limit=${limit}`)
    t.equal(body.data.length, Math.min(limit, total))
    t.equal(body.page.limit, limit)
  }
})

t.test('going from page to page shows every entry once, by the cursor or by the header', async (t) => {
  const everything = Array.from({ length: total }, (_, n) => n)
  for (const limit of [1, 7, 20, 44, 45, 46]) {
    const byCursor: number[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body }: Answer = await get(`/api/numbers?limit=${limit}${cursor && `&cursor=${cursor}`}`)
      byCursor.push(...body.data.map(({ n }) => n))
      cursor = body.page.next
    }
    t.strictSame(byCursor, everything, `cursors, ${limit} a page`)
    const byHeader: number[] = []
    for (let url: string | undefined = `/api/numbers?limit=${limit}`; url; ) {
      const { body, link }: Answer = await get(url)
      byHeader.push(...body.data.map(({ n }) => n))
      t.equal(link === undefined, body.page.next === null)
      url = link && nextOf(link)
    }
    t.strictSame(byHeader, everything, `headers, ${limit} a page`)
  }
})

t.test('the last page says that there is no other, also when it is full', async (t) => {
  const { body, link } = await get(`/api/numbers?limit=${total}`)
  t.equal(body.data.length, total)
  t.equal(body.page.next, null)
  t.equal(link, undefined)
})

t.test('an empty page is a page', async (t) => {
  const { body, link } = await get(`/api/numbers?cursor=${cursors.sign(String(total - 1))}`)
  t.strictSame(body, { data: [], page: { next: null, limit: 20 } })
  t.equal(link, undefined)
})

t.test('the header keeps the rest of the query, and replaces the cursor', async (t) => {
  const first = nextOf((await get('/api/numbers?limit=10')).link!)
  t.match(first, /^\/api\/numbers\?limit=10&cursor=[\w-]+$/)
  const second = nextOf((await get(first)).link!)
  t.equal(new URL(second, 'http://x').searchParams.getAll('cursor').length, 1)
  t.not(second, first)
  t.equal(nextOf((await get('/api/numbers')).link!).split('=')[0], '/api/numbers?cursor')
})

t.test('what is in the query cannot break out of the header', async (t) => {
  const loose = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
  loose.get('/api/loose', async (request, reply) =>
    page(request, reply, { cursors, rows: [1, 2], limit: 1, position: String }),
  )
  t.teardown(() => loose.close())
  for (const query of [
    'q=%3E%3B+rel%3D%22prev%22',
    'q=%0d%0aset-cookie:+a=b',
    'q=?%3F',
    'q=a,b',
    'q=%ff',
    'q=>',
    'a=1&a=2',
  ]) {
    const { headers, statusCode } = await loose.inject(`/api/loose?${query}`)
    t.equal(statusCode, 200, query)
    t.match(headers.link, /^<\/api\/loose\?[^<>"\s]+&cursor=[\w-]+>; rel="next"$/, query)
    t.equal(headers['set-cookie'], undefined)
    const given = new URL(`http://x/?${query}`).searchParams
    const kept = new URL(nextOf(headers.link as string), 'http://x').searchParams
    kept.delete('cursor')
    t.strictSame([...kept], [...given], query)
  }
})

t.test('a query that makes no sense is bad input, and says where', async (t) => {
  for (const [query, path] of [
    ['limit=0', '/query/limit'],
    ['limit=101', '/query/limit'],
    ['limit=-1', '/query/limit'],
    ['limit=ten', '/query/limit'],
    ['limit=1.5', '/query/limit'],
    ['limit=', '/query/limit'],
    ['limit=1&limit=2', '/query/limit'],
    ['cursor=made-up', '/query/cursor'],
    ['cursor=', '/query/cursor'],
    [`cursor=${cursors.sign('1')}x`, '/query/cursor'],
    [`cursor=${'x'.repeat(513)}`, '/query/cursor'],
    [`cursor=${cursors.sign('1')}&cursor=${cursors.sign('2')}`, '/query/cursor'],
    ['offset=10', '/query/offset'],
    ['Limit=10', '/query/Limit'],
  ]) {
    const { status, body } = await get(`/api/numbers?${query}`)
    t.equal(status, 400, query!)
    t.equal(body.code, 'BadInput')
    t.ok(
      body.errors.some((error) => error.path === path),
      `${query} is said to be wrong at ${path}`,
    )
  }
})

t.test('a resource is in data', async (t) => {
  t.strictSame((await server.inject('/api/number')).json(), {
    data: { id: '01890000-0000-7000-8000-000000000001', at: '2026-01-02T03:04:05.678Z' },
  })
})
