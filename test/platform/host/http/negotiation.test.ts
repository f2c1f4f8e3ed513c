import pino from 'pino'
import t from 'tap'
import { createServer } from '../../../../src/platform/host/http/server.ts'

const server = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
const config = { allow: 'anyone', module: 'posts' } as const
let done = 0
server.get('/json', { config }, async () => ({ done: ++done }))
server.post('/json', { config }, async () => ({ done: ++done }))
server.get('/stream', { config: { ...config, stream: true } }, async () => '')
server.get('/passed-on', { config: { module: 'posts' } }, async () => '')
t.teardown(() => server.close())

const ask = async (url: string, accept?: string, method: 'GET' | 'POST' = 'GET') => {
  const answer = await server.inject({ method, url, headers: accept === undefined ? {} : { accept } })
  return answer.statusCode
}

const GOOD = [
  undefined,
  '*/*',
  'application/json',
  'APPLICATION/JSON',
  'application/*',
  'application/problem+json',
  'application/json; charset=utf-8',
  'application/json;charset="UTF-8"',
  'text/html, */*;q=0.1',
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8',
  'text/html, application/json;q=0.001',
]
const BAD = [
  'text/html',
  'text/*',
  'image/png, text/event-stream',
  'application/xml',
  'application/json;q=0',
  '*/*;q=0',
  'application/jsonp',
  'application/json; charset=utf-16',
  'nonsense',
  ',',
]

t.test('whoever can read JSON is answered', async (t) => {
  for (const accept of GOOD) t.equal(await ask('/json', accept), 200, String(accept))
})

t.test('whoever can not is refused before anything is done, in words that say what there is', async (t) => {
  done = 0
  for (const accept of BAD)
    for (const method of ['GET', 'POST'] as const) t.equal(await ask('/json', accept, method), 406, accept)
  t.equal(done, 0)
  const answer = await server.inject({ url: '/json', headers: { accept: 'text/html' } })
  t.equal(answer.headers['content-type'], 'application/problem+json')
  t.match(answer.json(), {
    code: 'NotAcceptable',
    module: 'posts',
    status: 406,
    detail: 'This is answered as application/json only.',
  })
})

t.test('a stream of events is for those who accept events', async (t) => {
  for (const accept of [undefined, '*/*', 'text/event-stream', 'text/*']) t.equal(await ask('/stream', accept), 200)
  for (const accept of ['text/html', 'image/*']) t.equal(await ask('/stream', accept), 406)
})

t.test('a gateway leaves it to the module, and what nobody has is not found', async (t) => {
  t.equal(await ask('/passed-on', 'text/html'), 200)
  t.equal(await ask('/nowhere', 'text/html'), 404)
})

t.test('a header without end does not keep others waiting', async (t) => {
  const before = process.cpuUsage()
  t.equal(await ask('/json', 'a/b,'.repeat(10_000)), 406)
  t.ok(process.cpuUsage(before).user < 500_000)
})
