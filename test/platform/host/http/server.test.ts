import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import t from 'tap'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'

const quick = (timeout: number) => {
  const server = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
  server.addHook('onRequest', (request, _reply, done) => {
    request.context = new RequestContext({ timeout })
    done()
  })
  return server
}

t.test('a route that has not answered by the deadline is answered for', async (t) => {
  const server = quick(100)
  server.get('/never', { config: { allow: 'anyone', module: 'posts' } }, () => new Promise(() => {}))
  t.teardown(() => server.close())
  const url = await server.listen()
  const before = performance.now()
  const answer = await fetch(`${url}/never`)
  t.equal(answer.status, 503)
  t.match(await answer.json(), { code: 'DeadlineExceeded', module: 'posts' })
  t.equal(answer.headers.get('retry-after'), '1')
  t.ok(performance.now() - before < 2_000)
})

t.test('a route that answers in time is left alone, and what comes too late changes nothing', async (t) => {
  const server = quick(200)
  const late = Promise.withResolvers<object>()
  server.get('/soon', { config: { allow: 'anyone' } }, async () => ({ soon: true }))
  server.get('/late', { config: { allow: 'anyone' } }, () => late.promise)
  t.teardown(() => server.close())
  const url = await server.listen()
  t.strictSame((await server.inject('/soon')).json(), { soon: true })
  t.equal((await fetch(`${url}/late`)).status, 503)
  late.resolve({ late: true })
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.strictSame((await server.inject('/soon')).json(), { soon: true })
})

t.test('an answer that is made when the deadline passes is sent as it is', async (t) => {
  const server = quick(100)
  server.addHook('onSend', async () => void (await sleep(300)))
  server.get('/made', { config: { allow: 'anyone' } }, async () => ({ made: true }))
  t.teardown(() => server.close())
  const answer = await fetch(`${await server.listen()}/made`)
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('retry-after'), null)
  t.strictSame(await answer.json(), { made: true })
})

t.test('a body with faults without number is refused at once', async (t) => {
  const server = quick(10_000)
  const body = {
    type: 'object',
    additionalProperties: false,
    properties: { tags: { type: 'array', items: { type: 'string' } } },
  }
  server.post('/tags', { config: { allow: 'anyone' }, schema: { body } }, async () => ({}))
  t.teardown(() => server.close())
  const send = (payload: object) => server.inject({ method: 'POST', url: '/tags', payload })
  const few = await send({ tags: [1, 2, 'x'], more: 1 })
  t.strictSame(
    few
      .json()
      .errors.map(({ path }: { path: string }) => path)
      .sort(),
    ['/body/more', '/body/tags/0', '/body/tags/1'],
    'of a small one all faults are told',
  )
  const many = await send({ tags: new Array(200_000).fill(1) })
  t.equal(many.statusCode, 400)
  t.equal(many.json().errors.length, 1, 'of a huge one the first')
})
