import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Agent, type Dispatcher } from 'undici'
import type { TestSmtp } from '../support/smtp.ts'
import type { Drift } from './drift.ts'

/** A running Seam, whatever it consists of. */
export interface Target {
  /** Where end users come in. */
  url: string
  /** The server that its `SMTP_URL` names. */
  smtp: TestSmtp
  /** Its `SECRET`. */
  secret: string
  /** Runs a task of its operators (`npm run seam -- …`), where the test can. */
  operate?(task: string, ...args: string[]): Promise<string>
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** The text as JSON; undefined when it is none. */
  body: any
}

export interface Ask {
  token?: string
  cookie?: string
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is, with the content type that `headers` say; chunks have no content-length. */
  body?: string | Buffer | AsyncIterable<Buffer>
}

export interface User {
  id: string
  email: string
  password: string
  token: string
  /** For the header `cookie`. */
  cookie: string
}

/** How many connections one client opens at most. */
export const CONNECTIONS = 8

let users = 0

/** A client that sends what it is told to, bad requests too, and adds no header that it was not given. */
export class Api {
  readonly target: Target
  /** Looks at every answer. */
  drift: Drift | undefined
  readonly #agent = new Agent({ connections: CONNECTIONS, pipelining: 1, headersTimeout: 20_000, bodyTimeout: 20_000 })

  constructor(target: Target) {
    this.target = target
  }

  get(path: string, ask?: Ask): Promise<Answer> {
    return this.send('GET', path, ask)
  }

  post(path: string, json: unknown, ask?: Ask): Promise<Answer> {
    return this.send('POST', path, { ...ask, json })
  }

  /** The path goes out as it is written: nothing is encoded or normalised. */
  async send(method: string, path: string, { token, cookie, headers, json, body }: Ask = {}): Promise<Answer> {
    const answer = await this.#agent.request({
      origin: this.target.url,
      path,
      method: method as Dispatcher.HttpMethod,
      headers: {
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(cookie !== undefined && { cookie }),
        ...headers,
      },
      body: json !== undefined ? JSON.stringify(json) : ((body as Buffer | undefined) ?? null),
    })
    const text = await answer.body.text()
    const seen = { status: answer.statusCode, headers: answer.headers, text, body: parsed(text) }
    this.drift?.look(method, path, seen)
    return seen
  }

  /** Registers somebody whom nobody else knows. */
  async register(name = 'Ada'): Promise<User> {
    const email = `${name.toLowerCase()}.${process.pid}.${++users}@example.com`
    const password = 'correct horse battery'
    const answer = await this.post('/api/auth/register', { email, password, firstName: name, lastName: 'Lovelace' })
    if (answer.status !== 201) throw new Error(`Registering ${email} gave ${answer.status}: ${answer.text}`)
    return { id: answer.body.user.id, email, password, token: answer.body.token, cookie: cookieOf(answer) }
  }

  /** Registers somebody and has the operators make them an admin (or what `role` says). */
  async admin(role = 'admin'): Promise<User> {
    const user = await this.register(role)
    await this.target.operate!('grant', user.email, role)
    return user
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

/** A client that is closed when the test ends. */
export function connect(t: Test, target: Target): Api {
  const api = new Api(target)
  t.teardown(() => api.close())
  return api
}

/** The session cookie that an answer sets, for the header `cookie`. */
export function cookieOf(answer: Answer): string {
  const [set] = [answer.headers['set-cookie']].flat()
  return set?.split(';', 1)[0] ?? ''
}

/** Asks again and again until the answer will do, at most 15 s; then the last answer is returned all the same. */
export async function until<T>(look: () => Promise<T>, good: (found: T) => boolean): Promise<T> {
  const end = performance.now() + 15_000
  // Who waits long asks less often, since it is the asking that keeps the machine busy.
  for (let pause = 20; ; pause = Math.min(1.5 * pause, 100)) {
    const found = await look()
    if (good(found) || performance.now() > end) return found
    await sleep(pause)
  }
}

export interface Refusal {
  status: number
  code: string
  module: string
  /** The path that was asked for, without the query. */
  path: string
}

const MEMBERS = ['type', 'title', 'status', 'detail', 'instance', 'code', 'module', 'requestId']
const INTERNALS = /node_modules|\bat .*:\d+:\d+|postgres|ajv|undici|drizzle/i

/** Asserts that an answer is a refusal in the form of RFC 9457, complete and true to itself. One assertion: there are many. */
export function refused(t: Test, answer: Answer, expected: Refusal, what = 'is refused'): void {
  t.strictSame(refusalOf(answer), wanted(expected), what)
}

/** What {@link refused} looks at. */
export function refusalOf({ status, headers, text, body }: Answer): object {
  return {
    status: [status, body?.status],
    'content-type': headers['content-type'],
    'www-authenticate': headers['www-authenticate'] !== undefined,
    'retry-after': headers['retry-after'] !== undefined,
    problem: body && { type: body.type, code: body.code, module: body.module, instance: body.instance },
    missing: MEMBERS.filter((name) => body?.[name] === undefined || body[name] === ''),
    'same request id': body?.requestId === headers['x-request-id'],
    internals: INTERNALS.exec(text)?.[0],
    short: text.length < 20_000,
  }
}

/** What {@link refusalOf} should be. */
export function wanted({ status, code, module, path }: Refusal): object {
  return {
    status: [status, status],
    'content-type': 'application/problem+json',
    'www-authenticate': status === 401,
    'retry-after': status === 429 || status === 503,
    problem: { type: `urn:seam:${module}:${code}`, code, module, instance: path },
    missing: [],
    'same request id': true,
    internals: undefined,
    short: true,
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
