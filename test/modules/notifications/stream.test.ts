import { once } from 'node:events'
import { connect } from 'node:net'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { refused } from '../../api/client.ts'
import { type Person, type Scene, scene } from '../../support/bystanders.ts'
import { type EventReader, readEvents } from '../../support/events.ts'
import { freshState } from '../../support/topology.ts'
import { until } from '../../support/until.ts'

t.setTimeout(240_000)

const STREAM = '/api/notifications/stream'

const excerpts = (reader: Pick<EventReader, 'events'>): string[] =>
  reader.events.map(({ data }) => data.text.split(': ')[1])
const read = (s: Scene, who: Person, lastId?: string) =>
  readEvents(s.api.target.url + STREAM, { token: who.token, ...(lastId !== undefined && { lastId }) })
const listed = (s: Scene, who: Person, count: number) =>
  until(`${count} notifications`, async () => {
    const { body } = await s.api.get('/api/notifications?limit=100', who)
    return body.data.length >= count && body.data
  })

async function replicas(t: Test): Promise<[Scene, Scene]> {
  const state = await freshState('postgres')
  t.teardown(() => state.close())
  const options = { state: state.env }
  const one = await scene(t, options)
  return [one, await scene(t, options)]
}

t.test('at one process', async (t) => {
  t.setTimeout(240_000)
  const s = await scene(t)
  const sql = postgres(s.databaseUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  /** Notifications that were there before. */
  const history = async ({ id }: Person, count: number, bytes: number) => {
    await sql`insert into notifications.recipients (user_id, notified) values (${id}, ${count})`
    await sql`insert into notifications.notifications (id, user_id, sequence, kind, text)
      select gen_random_uuid(), ${id}, n, 'comment', repeat('x', ${bytes}) from generate_series(1, ${count}) as n`
  }

  await t.test('a notification comes as it is in the list, with its place as the id', async (t) => {
    const ada = await s.stranger()
    const stream = await read(s, ada)
    t.equal(stream.status, 200)
    t.match(stream.headers, {
      'content-type': /^text\/event-stream\b/,
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    t.notOk(stream.headers['content-encoding'])
    await s.comment(ada, 'one')
    const [event] = await stream.wait(1)
    const [row] = await listed(s, ada, 1)
    t.strictSame(event, { id: '1', data: row })
    t.match(stream.text, /^retry: \d+\nid: 0\n\nid: 1\ndata: /)
    stream.leave()
  })

  await t.test('it begins with what comes from now on, or after the place that was named', async (t) => {
    const ada = await s.stranger()
    for (const [index, excerpt] of ['one', 'two', 'three'].entries()) {
      await s.comment(ada, excerpt)
      await listed(s, ada, index + 1)
    }
    const [fresh, resumed, asked] = await Promise.all([
      read(s, ada),
      read(s, ada, '1'),
      readEvents(`${s.api.target.url}${STREAM}?lastEventId=2`, ada),
    ])
    await s.comment(ada, 'four')
    t.strictSame([fresh.lastId.length > 0, excerpts({ events: await fresh.wait(1) })], [true, ['four']])
    t.strictSame(excerpts({ events: await resumed.wait(3) }), ['two', 'three', 'four'])
    t.strictSame(excerpts({ events: await asked.wait(2) }), ['three', 'four'])
    const beyond = await read(s, ada, '9007199254740991')
    await s.comment(ada, 'five')
    t.strictSame(excerpts({ events: await beyond.wait(1) }), ['five'], 'a place that is not there yet is the last one')
    for (const stream of [fresh, resumed, asked, beyond]) stream.leave()
  })

  await t.test('a long history comes whole and in order', async (t) => {
    const ada = await s.stranger()
    await history(ada, 1_234, 100)
    const fresh = await read(s, ada, '0')
    const events = await fresh.wait(1_234)
    t.strictSame(
      events.map(({ id }) => Number(id)),
      Array.from({ length: 1_234 }, (_, n) => n + 1),
    )
    await s.comment(ada, 'and now')
    t.equal((await fresh.wait(1_235)).at(-1)?.id, '1235')
    fresh.leave()
  })

  await t.test('only the user gets it', async (t) => {
    const [ada, eve] = [await s.stranger(), await s.stranger()]
    const streams = [await read(s, ada), await read(s, eve)]
    await s.comment(ada, 'for Ada')
    await streams[0]!.wait(1)
    await s.comment(eve, 'for Eve')
    t.strictSame(excerpts({ events: await streams[1]!.wait(1) }), ['for Eve'])
    for (const stream of streams) stream.leave()
    const nobody = await s.api.get(STREAM)
    refused(t, nobody, { status: 401, code: 'Unauthenticated', module: 'seam', path: STREAM })
  })

  await t.test('a user has five streams at a process at most; one that has ended makes room', async (t) => {
    const ada = await s.stranger()
    const streams = await Promise.all(Array.from({ length: 5 }, () => read(s, ada)))
    const refusal = { status: 429, code: 'TooManyStreams', module: 'notifications', path: STREAM }
    const sixth = await s.api.get(STREAM, ada)
    refused(t, sixth, { ...refusal })
    streams[0]!.leave()
    const again = await until('there is room', async () => {
      const stream = await read(s, ada)
      return stream.status === 200 && stream
    })
    for (const stream of [...streams, again]) stream.leave()
  })

  await t.test('HEAD says what there would be', async (t) => {
    const ada = await s.stranger()
    const answer = await s.api.send('HEAD', STREAM, ada)
    t.match([answer.status, answer.headers['content-type']], [200, /^text\/event-stream\b/])
  })

  await t.test('places that are none are refused', async (t) => {
    const ada = await s.stranger()
    for (const id of ['x', '-1', '1.5', '99999999999999999999']) {
      const answer = await s.api.get(STREAM, { ...ada, headers: { 'last-event-id': id } })
      t.equal(answer.status, 400, id)
      t.equal((await s.api.get(`${STREAM}?lastEventId=${id}`, ada)).status, 400, id)
    }
  })

  await t.test('a reader that does not read holds up nobody, and gets all when it reads on', async (t) => {
    const ada = await s.stranger()
    // 20 MB: more than what lies between the two can hold.
    const many = 10_000
    await history(ada, many, 2_000)
    const slow = connect(Number(new URL(s.api.target.url).port), '127.0.0.1')
    await once(slow, 'connect')
    slow.write(`GET ${STREAM} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ada.token}\r\nlast-event-id: 0\r\n\r\n`)
    const quick = await read(s, ada)
    await s.comment(ada, 'for both')
    t.strictSame(excerpts({ events: await quick.wait(1) }), ['for both'])
    quick.leave()
    let text = ''
    slow.setEncoding('utf8')
    slow.on('data', (chunk) => (text += chunk))
    await until('all', () => text.includes(`id: ${many + 1}\ndata: `), 20_000)
    t.strictSame(
      text.match(/^id: \d+(?=\ndata: )/gm),
      Array.from({ length: many + 1 }, (_, n) => `id: ${n + 1}`),
    )
    slow.destroy()
  })

  await t.test('the streams of a deleted user end', async (t) => {
    const ada = await s.person()
    await listed(s, ada, 1)
    const stream = await read(s, ada)
    await s.publish('userDeleted', { userId: ada.id })
    await until('it ends', () => stream.ended)
    t.ok(stream.ended)
  })
})

t.test('at two replicas', async (t) => {
  t.setTimeout(240_000)
  const [one, two] = await replicas(t)

  await t.test('what one handles is told at the other', async (t) => {
    const ada = await one.stranger()
    const streams = [await read(one, ada), await read(two, ada)]
    for (let n = 1; n <= 10; n++) await (n % 2 ? one : two).comment(ada, String(n))
    for (const stream of streams) {
      const events = await stream.wait(10)
      t.strictSame(
        events.map(({ id }) => id),
        Array.from({ length: 10 }, (_, n) => String(n + 1)),
      )
      stream.leave()
    }
  })

  await t.test(
    'a reader that is cut again and again, while much comes, misses nothing and gets nothing twice',
    async (t) => {
      const ada = await one.stranger()
      const many = 30
      const got: { id: string; data: any }[] = []
      let lastId: string | undefined
      let writing = true
      const written = (async () => {
        for (let n = 1; n <= many; n++) await (n % 3 ? one : two).comment(ada, `n${n}`)
        writing = false
      })()
      for (let turn = 0; got.length < many && turn < 500; turn++) {
        const stream = await read(turn % 2 ? two : one, ada, lastId ?? '0')
        // As a client does: it remembers an id when it has the whole event.
        await until('something, or the end', () => stream.events.length > 0 || (!writing && got.length >= many))
        stream.leave()
        got.push(...stream.events)
        lastId = stream.events.at(-1)?.id ?? lastId
      }
      await written
      t.strictSame(
        got.map(({ id }) => Number(id)),
        Array.from({ length: many }, (_, n) => n + 1),
      )
      const rows = await listed(one, ada, many)
      t.strictSame(
        got.map(({ data }) => data.id),
        rows.map(({ id }: { id: string }) => id).reverse(),
      )
    },
  )

  await t.test('when a process ends its streams end, and go on at the other', async (t) => {
    const ada = await one.stranger()
    const stream = await read(two, ada)
    await one.comment(ada, 'before')
    await stream.wait(1)
    const started = performance.now()
    await two.close()
    t.ok(performance.now() - started < 5_000, `in ${Math.round(performance.now() - started)} ms`)
    await until('the stream ends', () => stream.ended)
    await one.comment(ada, 'meanwhile')
    await listed(one, ada, 2)
    const again = await read(one, ada, stream.lastId)
    t.strictSame(excerpts({ events: await again.wait(1) }), ['meanwhile'])
    again.leave()
  })
})

t.test('through a gateway', async (t) => {
  const s = await scene(t, { outside: ['users', 'posts', 'notifications'] })
  const ada = await s.stranger()
  const stream = await readEvents(s.api.target.url + STREAM, {
    token: ada.token,
    headers: { 'accept-encoding': 'gzip' },
  })
  t.match([stream.status, stream.headers['content-type']], [200, /^text\/event-stream\b/])
  t.notOk(stream.headers['content-encoding'])
  await s.comment(ada, 'one')
  t.strictSame(excerpts({ events: await stream.wait(1) }), ['one'])
  stream.leave()
  const resumed = await read(s, ada, '0')
  t.strictSame(excerpts({ events: await resumed.wait(1) }), ['one'])
  t.equal((await s.api.send('HEAD', STREAM, ada)).status, 200)
  const left = await Promise.all(Array.from({ length: 4 }, () => read(s, ada)))
  for (const one of left) one.leave()
  const room = await until('who left the gateway has left the module', async () => {
    const one = await read(s, ada)
    return one.status === 200 && one
  })
  room.leave()
  const started = performance.now()
  await s.close()
  const took = performance.now() - started
  t.ok(took < 6_000, `it closes with a stream open, in ${Math.round(took)} ms`)
  t.ok(resumed.ended)
})

t.test('many streams through a gateway keep nobody from anything else', async (t) => {
  const s = await scene(t, { outside: ['users', 'posts', 'notifications'] })
  const readers = await Promise.all(Array.from({ length: 40 }, () => s.stranger()))
  const streams = await Promise.all(readers.flatMap((reader) => Array.from({ length: 5 }, () => read(s, reader))))
  t.ok(streams.every(({ status }) => status === 200))
  const { status } = await s.api.get('/api/notifications', readers[0]!)
  t.equal(status, 200)
  for (const stream of streams) stream.leave()
})
