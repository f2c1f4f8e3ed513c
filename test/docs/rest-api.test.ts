import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { settled } from '../support/published.ts'
import { startSmtp, type TestSmtp } from '../support/smtp.ts'
import { startTopology, type Topology } from '../support/topology.ts'
import { until } from '../support/until.ts'
import { type Message, readGuide, type Step } from './guide.ts'
import { differences, isLike, readJson } from './likeness.ts'

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
const text = await read('docs/rest-api.md')

interface Found {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
}

for (const outside of [[], ['users', 'posts', 'notifications']]) {
  await t.test(`the guide is true ${outside.length > 0 ? 'behind a gateway' : 'of one process'}`, async (t) => {
    t.setTimeout(240_000)
    const smtp = await startSmtp()
    t.teardown(() => smtp.close())
    // The limit that the guide speaks of; the other one would be a thousand requests.
    const topology = await startTopology({
      outside,
      env: { SMTP_URL: smtp.url, LOGIN_LIMIT: '20', RATE_LIMIT: '1000' },
    })
    t.teardown(() => topology.close())
    const sql = postgres(topology.databaseUrl, { max: 1 })
    t.teardown(() => sql.end())
    /** Who reads at their own pace does not overtake events; what changes something cannot be sent again until it fits. */
    await play(t, readGuide(text), { topology, smtp, settled: () => settled(sql, 'users', 'posts') })
  })
}

t.test('the examples in the README are from the guide', async (t) => {
  const examples = [...(await read('README.md')).matchAll(/^```http\n[\s\S]*?^```$/gm)].map(([block]) => block)
  t.equal(examples.length, 4, 'two requests and their answers')
  for (const example of examples) t.ok(text.includes(example), example)
})

t.test('what is not as shown is found', async (t) => {
  const faults = (shown: string, found: unknown) => differences(readJson(shown), found)
  t.strictSame(faults('{ "a": 1, "b": …, "c": "x-…", … }', { a: 1, b: null, c: 'x-1', d: 2 }), [])
  t.strictSame(faults('[{ "a": "…" }, …]', [{ a: 'x' }, 2, 3]), [])
  t.strictSame(faults('{ "a": 1, "b": "…" }', { a: 2, c: 3 }), ['/a is 2, not 1', '/b is missing', '/c is not shown'])
  t.strictSame(faults('[1]', [1, 2]), ['/1 is not shown'])
  t.strictSame(faults('{ "a": "x…" }', { a: 'y' }), ['/a is "y", not "x…"'])
})

t.test('what would not be run is refused', async (t) => {
  const asked = '```http\nGET / HTTP/1.1\n```\n'
  const answered = '```http\nHTTP/1.1 200 OK\n```\n'
  for (const [guide, fault] of [
    ['```json\n{}\n```', 'a block of "json" is not run'],
    ['```sh\nls\n```', '"ls" is not run'],
    [asked, 'The last request has no answer'],
    [asked + asked, 'the request above has no answer'],
    [answered, 'an answer to no request'],
    [`${asked}${answered}<!-- takes x = y -->`, '"takes x = y" is not understood'],
  ] as const)
    t.throws(() => readGuide(guide), { message: new RegExp(`${RegExp.escape(fault)}$`) })
})

/** Does what a guide says, in its order, and compares what comes with what it shows. Ends at the first difference. */
async function play(
  t: Test,
  steps: readonly Step[],
  world: { topology: Topology; smtp: TestSmtp; settled: () => Promise<unknown> },
): Promise<void> {
  const known = new Map<string, string>()
  let last: Found = { status: 0, headers: {}, body: '' }
  const filled = (text: string) =>
    text.replace(/\{(\w+)\}/g, (_all, name) => {
      if (!known.has(name)) throw new Error(`Nothing is known of {${name}}`)
      return known.get(name)!
    })
  for (const step of steps) {
    const where = `line ${step.line}`
    if (step.kind === 'task') await world.topology.operate(step.task, ...step.args)
    else if (step.kind === 'take') {
      const value = taken(last, step.from)
      t.ok(value, `${where}: there is a ${step.name}`)
      known.set(step.name, String(value))
    } else if (step.kind === 'mail') {
      const [before = '', name = ''] = step.pattern.split(/[{}]/)
      const pattern = new RegExp(`${RegExp.escape(before)}([\\w-]+)`)
      const value = await until(where, () => {
        const mails = world.smtp.mails.filter(({ to }) => to.includes(step.to))
        return mails.map(({ words }) => pattern.exec(words)?.[1]).find((found) => found !== undefined)
      })
      known.set(name, value)
    } else {
      const asked = mapped(step.request, filled)
      const shown = mapped(step.answer, filled)
      if (!/^(GET|HEAD|OPTIONS) /.test(asked.start)) await world.settled()
      for (let sent = 0; sent < step.before; sent++) await ask(world.topology.url, asked)
      const end = performance.now() + 10_000
      let faults: string[]
      do {
        last = await ask(world.topology.url, asked, shown)
        faults = faultsOf(shown, last)
      } while (step.soon && faults.length > 0 && performance.now() < end)
      t.strictSame(faults, [], `${where}: ${asked.start}`)
      if (faults.length > 0) return
    }
  }
}

function mapped({ start, headers, body }: Message, change: (text: string) => string): Message {
  return {
    start: change(start),
    headers: headers.map(([name, value]) => [name, change(value)]),
    body: change(body),
  }
}

/** Sends a request as it is written. Of a stream only as much is read as `shown` has. */
async function ask(url: string, { start, headers, body }: Message, shown?: Message): Promise<Found> {
  const [method = '', path = ''] = start.split(' ')
  const answer = await request(url + path, {
    method,
    headers: Object.fromEntries(headers),
    body: body || null,
    signal: AbortSignal.timeout(10_000),
  })
  let text = ''
  answer.body.setEncoding('utf8')
  const isStream = /^text\/event-stream/.test(String(answer.headers['content-type']))
  for await (const chunk of answer.body) {
    text += chunk
    if (isStream && (!shown || isLike(shown.body, text.trimEnd()))) break
  }
  return { status: answer.statusCode, headers: answer.headers, body: text }
}

function faultsOf(shown: Message, found: Found): string[] {
  const status = Number(shown.start.split(' ')[1])
  const isJson = /\bjson\b/.test(String(found.headers['content-type']))
  const faults = shown.headers
    .filter(([name, value]) => !isLike(value, [found.headers[name] ?? 'missing'].flat().join(', ')))
    .map(([name, value]) => `${name} is ${found.headers[name]}, not ${value}`)
  if (found.status !== status) return [`${found.status}, not ${status}: ${found.body}`, ...faults]
  if (isJson && shown.body) faults.push(...differences(readJson(shown.body), JSON.parse(found.body)))
  else if (!isLike(shown.body, found.body.trimEnd())) faults.push(`the body is ${found.body}`)
  return faults
}

function taken({ headers, body }: Found, from: string): unknown {
  const [kind = '', name = ''] = from.split(' ')
  if (kind === 'header') return headers[name]
  if (kind === 'cookie') return new RegExp(`${name}=([^;]*)`).exec([headers['set-cookie']].flat().join('; '))?.[1]
  return from.split('.').reduce<any>((value, part) => value?.[part], JSON.parse(body))
}
