import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { refused } from '../../../api/client.ts'
import { freePorts } from '../../../support/ports.ts'
import { until } from '../../../support/until.ts'
import { type EdgeOptions, startEdge, within } from './edge.ts'
import { says, upstream } from './upstreams.ts'

t.setTimeout(240_000)

const path = '/api/posts'
const unavailable = { status: 503, code: 'Unavailable', module: 'posts', path }
const KEY = { 'idempotency-key': 'one-and-the-same' }
const WRITES = ['POST', 'PUT', 'PATCH', 'DELETE']
const good = says(200, { data: 'good' })

/** As a module says it when something of `module` is away. */
const problem = (status: number, module = 'posts') =>
  says(status, { title: 'away', status, code: 'Away', module }, { 'retry-after': '1', 'x-seam-failed': module })

/** A bad instance, a good one, and an edge before them that asks the bad one first. */
async function badAndGood(t: Test, handle: RequestListener, options?: EdgeOptions) {
  const bad = await upstream(t, handle)
  const fine = await upstream(t, good)
  return { ...(await startEdge(t, [bad.url, fine.url], options)), bad, fine, asked: () => [bad.asked, fine.asked] }
}

t.test('of three instances one is killed under load, and every read is answered', async (t) => {
  const children = await Promise.all(
    [1, 2, 3].map(async () => {
      const child = fork(join(import.meta.dirname, 'instance-process.ts'), {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      t.teardown(() => child.kill('SIGKILL'))
      const [url] = (await once(child, 'message')) as [string]
      return { child, url }
    }),
  )
  const { api } = await startEdge(
    t,
    children.map(({ url }) => url),
    { inOrder: false },
  )
  const answered = new Map<string, number>()
  let enough = false
  const ask = async () => {
    while (!enough) {
      const { status, body } = await api.get(path)
      const who = status === 200 ? String(body.pid) : `${status}`
      answered.set(who, (answered.get(who) ?? 0) + 1)
    }
  }
  const asking = Promise.all(Array.from({ length: 8 }, ask))
  const [victim] = children
  await until('all have answered', () => answered.size === 3)
  victim!.child.kill('SIGKILL')
  await once(victim!.child, 'exit')
  const count = () => [...answered.values()].reduce((sum, one) => sum + one, 0)
  const before = count()
  await until('many more were asked', () => count() > before + 200)
  enough = true
  await asking
  t.strictSame([...answered.keys()].sort(), children.map(({ child }) => String(child.pid)).sort(), 'nobody was refused')
})

t.test('a read that one instance cannot answer is answered by another', async (t) => {
  const inTheMiddle = 'ends in the middle of a small body, which is none of a HEAD'
  const cut = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"data":'
  const troubles: Record<string, RequestListener> = {
    'cuts the connection': (request) => void request.socket.destroy(),
    resets: (request) => void request.socket.resetAndDestroy(),
    'says 503': problem(503),
    'says 502': problem(502),
    'says that it has too much to do': problem(503, 'seam'),
    'is a proxy that says 502': (_request, response) =>
      void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>'),
    'talks nonsense': ({ socket }) => void socket.end('nonsense\r\n\r\n'),
    [inTheMiddle]: ({ socket }) => void socket.end(cut),
  }
  for (const [what, handle] of Object.entries(troubles)) {
    const { api, asked } = await badAndGood(t, handle)
    t.match(await api.get(path), { status: 200, body: { data: 'good' } }, `GET: ${what}`)
    t.strictSame(asked(), [1, 1])
    t.equal((await api.send('HEAD', path)).status, 200, `HEAD: ${what}`)
    t.strictSame(asked(), what === inTheMiddle ? [2, 1] : [2, 2])
  }
})

t.test('a connection that is refused has carried nothing, so anything may be sent to another instance', async (t) => {
  const [port] = await freePorts(1)
  const fine = await upstream(t, good)
  const { api } = await startEdge(t, [`http://127.0.0.1:${port}`, fine.url], { take: () => false })
  for (const [i, method] of ['GET', ...WRITES].entries()) {
    t.equal((await api.send(method, path, { json: method === 'GET' ? undefined : { title: 'T' } })).status, 200, method)
    t.equal(fine.asked, i + 1, 'once')
  }
})

t.test('a change that may have been made is not sent once more', async (t) => {
  for (const [what, handle] of [
    ['cuts the connection', ({ socket }) => void socket.destroy()],
    ['says 503', problem(503)],
  ] as [string, RequestListener][]) {
    const { api, asked } = await badAndGood(t, handle)
    for (const [i, method] of WRITES.entries()) {
      t.equal((await api.send(method, path, { json: { title: 'T' } })).status, 503, `${method}: ${what}`)
      t.strictSame(asked(), [i + 1, 0])
    }
  }
})

t.test('a change with an Idempotency-Key is sent once more, as it was', async (t) => {
  for (const [what, handle] of [
    ['cuts the connection', ({ socket }) => void socket.destroy()],
    ['reads all and cuts the connection', (request) => void request.resume().on('end', () => request.socket.destroy())],
    ['says 503', problem(503)],
  ] as [string, RequestListener][]) {
    const bad = await upstream(t, handle)
    const fine = await upstream(t, async (request, response) => {
      const body = await text(request)
      const { 'idempotency-key': key, 'x-seam-repeated': repeated } = request.headers
      says(200, { length: body.length, key, repeated })(request, response)
    })
    const { api } = await startEdge(t, [bad.url, fine.url])
    for (const length of [10, 500_000]) {
      const answer = await api.post(path, 'x'.repeat(length - 2), { headers: KEY })
      t.match(answer.body, { length, key: KEY['idempotency-key'], repeated: 'true' }, `${what}, ${length} bytes`)
    }
    t.strictSame([bad.asked, fine.asked], [2, 2])
  }
})

t.test('a change that the next instance will not do again, is asked of no other', async (t) => {
  const refusing = problem(503, 'nobody')
  const all = [await upstream(t, ({ socket }) => void socket.destroy()), await upstream(t, refusing)]
  all.push(await upstream(t, good))
  const { api, balancer } = await startEdge(
    t,
    all.map(({ url }) => url),
  )
  const answer = await api.send('PATCH', path, { json: {}, headers: KEY })
  t.match([answer.status, answer.body.code], [503, 'Away'])
  t.strictSame(
    all.map(({ asked }) => asked),
    [1, 1, 0],
  )
  t.ok(balancer.instancesOf('posts')[1]!.breaker.mayAsk())
})

t.test('what has reached nobody is not said to be sent again', async (t) => {
  const gone = await upstream(t, good)
  gone.crash()
  const fine = await upstream(t, (request, response) =>
    says(200, { repeated: request.headers['x-seam-repeated'] ?? null })(request, response),
  )
  const { api } = await startEdge(t, [gone.url, fine.url])
  t.match((await api.post(path, {}, { headers: KEY })).body, { repeated: null })
})

t.test('at most three instances are asked, and the last of them is passed on in its own words', async (t) => {
  const all = await Promise.all([1, 2, 3, 4].map(() => upstream(t, problem(503))))
  const { api } = await startEdge(
    t,
    all.map(({ url }) => url),
  )
  const answer = await api.get(path)
  t.match([answer.status, answer.body], [503, { code: 'Away', module: 'posts' }])
  t.equal(answer.headers['retry-after'], '1')
  t.notOk(answer.headers['x-seam-failed'], 'what instances say to edges stays there')
  t.strictSame(
    all.map(({ asked }) => asked),
    [1, 1, 1, 0],
  )
})

t.test('where there is one instance it is asked once', async (t) => {
  const only = await upstream(t, ({ socket }) => void socket.destroy())
  const { api } = await startEdge(t, [only.url])
  refused(t, await api.get(path), unavailable)
  t.equal(only.asked, 1)
})

t.test('what the budget of repetitions does not allow is not repeated', async (t) => {
  let spent = 0
  const { api, asked } = await badAndGood(t, problem(503), { take: () => ++spent <= 1 })
  t.equal((await api.get(path)).status, 200)
  t.equal((await api.get(path)).status, 503)
  t.strictSame([spent, ...asked()], [2, 2, 1])
})

t.test('an instance that hangs is left at the deadline, and no other is asked then', async (t) => {
  const { api, bad, asked, balancer } = await badAndGood(t, () => {})
  const late = { status: 503, code: 'DeadlineExceeded', module: 'posts', path }
  for (const ask of [{}, { json: {}, headers: KEY }]) {
    const method = ask.json ? 'POST' : 'GET'
    refused(t, await api.send(method, path, { ...ask, headers: { ...ask.headers, ...within(100) } }), late)
  }
  await until('it hears that nobody waits', () => bad.left === 2)
  t.strictSame(asked(), [2, 0])
  const [instance] = balancer.instancesOf('posts')
  for (let i = 0; i < 3; i++) await api.get(path, { headers: within(50) })
  t.equal(instance!.breaker.state, 'open', 'it counts against the instance')
})

t.test('an instance that has been left out gets nothing but tries', async (t) => {
  const bad = await upstream(t, ({ socket }) => void socket.destroy())
  const fine = await upstream(t, good)
  const { api, balancer } = await startEdge(t, [bad.url, fine.url], { inOrder: false })
  const [instance] = balancer.instancesOf('posts')
  await until('it is left out', async () => {
    t.equal((await api.get(path)).status, 200)
    return instance!.breaker.state === 'open'
  })
  const before = bad.asked
  const started = performance.now()
  for (let i = 0; i < 300; i++) if ((await api.get(path)).status !== 200) t.fail('was refused')
  const tries = 1 + Math.floor((performance.now() - started) / 500)
  t.ok(bad.asked - before <= tries, `${bad.asked - before} of 300, and ${tries} at most`)
})

t.test('an instance is not blamed for others', async (t) => {
  const blameless: Record<string, RequestListener> = {
    'another module is away': problem(503, 'users'),
    'another module has failed': problem(500, 'users'),
    'it has too much to do': problem(503, 'seam'),
    'the caller is wrong': says(404, { code: 'PostNotFound', module: 'posts' }),
  }
  for (const [what, handle] of Object.entries(blameless)) {
    const one = await upstream(t, handle)
    const { api, balancer } = await startEdge(t, [one.url])
    for (let i = 0; i < 20; i++) await api.get(path)
    t.strictSame([one.asked, balancer.instancesOf('posts')[0]!.breaker.state], [20, 'closed'], what)
  }
  const failing = await upstream(t, problem(500))
  const { api, balancer } = await startEdge(t, [failing.url])
  for (let i = 0; i < 5; i++) await api.get(path)
  t.equal(balancer.instancesOf('posts')[0]!.breaker.state, 'open', 'for itself it is')
})

t.test('another instance would not do better when another module is away', async (t) => {
  const { api, asked } = await badAndGood(t, problem(503, 'users'))
  t.match((await api.get(path)).body, { code: 'Away', module: 'users' })
  t.strictSame(asked(), [1, 0])
})

t.test('a stream whose first event is a long time coming is a stream from its head on', async (t) => {
  const streaming = await upstream(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    setTimeout(() => response.write('data: 1\n\n'), 1_000)
  })
  const { url, balancer } = await startEdge(t, [streaming.url])
  const leaving = new AbortController()
  const headers = { accept: 'text/event-stream', ...within(500) }
  const answer = await fetch(`${url}${path}`, { headers, signal: leaving.signal })
  t.equal(answer.status, 200)
  const { value } = await answer.body!.getReader().read()
  t.equal(Buffer.from(value!).toString(), 'data: 1\n\n')
  t.equal(balancer.instancesOf('posts')[0]!.inFlight, 0, 'while it lasts it is no work')
  leaving.abort()
  await until('the end', () => streaming.left === 1)
  t.equal(balancer.instancesOf('posts')[0]!.inFlight, 0)
})

t.test('events flow, and who connects again when their instance has died gets another', async (t) => {
  const stream: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    const timer = setInterval(() => response.write('data: tick\n\n'), 20)
    response.on('close', () => clearInterval(timer))
  }
  const [one, other] = [await upstream(t, stream), await upstream(t, stream)]
  const { url } = await startEdge(t, [one.url, other.url])
  const open = async () => {
    const answer = await fetch(`${url}${path}`, { headers: { accept: 'text/event-stream', ...within(500) } })
    return answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  }
  const started = performance.now()
  const events = await open()
  t.match((await events.read()).value, ': hello')
  while (performance.now() - started < 900) t.match((await events.read()).value, 'tick', 'also after the deadline')
  one.crash()
  await t.rejects(async () => {
    while (!(await events.read()).done);
  }, 'an end that is none is not passed off as one')
  const again = await open()
  t.match((await again.read()).value, ': hello')
  t.strictSame([one.asked, other.asked], [1, 1])
  await again.cancel()
  await until('the module hears that nobody listens', () => other.left === 1)
})

t.test('a client that leaves is not waited for', async (t) => {
  const hanging = await upstream(t, () => {})
  const { url, balancer } = await startEdge(t, [hanging.url])
  for (const [i, how] of (['GET', 'POST'] as const).entries()) {
    const leave = new AbortController()
    const body = how === 'POST' ? '{}' : null
    const asked = fetch(`${url}${path}`, { method: how, body, signal: leave.signal })
    await until('the module was asked', () => hanging.asked === i + 1)
    const left = performance.now()
    leave.abort()
    await t.rejects(asked)
    await until('the module hears of it', () => hanging.left === i + 1)
    t.ok(performance.now() - left < 200, `${how}: within 200 ms`)
  }
  t.equal(balancer.instancesOf('posts')[0]!.breaker.state, 'closed')
})
