import type { Answer, Api, User } from '../api/client.ts'
import type { Drift } from '../api/drift.ts'
import type { Callers } from './callers.ts'
import { credentialsOf } from './callers.ts'
import { driftOf, faultOf, faultOfRaw } from './checks.ts'
import { Knowledge } from './known.ts'
import { type Edits, edited } from './raw.ts'
import { drafted, type Operation, type Plan, type Request } from './requests.ts'
import { Sender, shown } from './sending.ts'

/** What became of the requests for one operation. */
export interface Tally {
  sent: number
  /** By status; 0: the connection was ended instead. */
  statuses: Map<number, number>
}

/** Refused requests are kept for later; of those with large bodies only so many. */
const LARGE = { bytes: 64 * 1024, most: 50 }

/** Sends requests and looks at the answers: what is wrong with them, and what can be learned from them. */
export class Run {
  readonly #api: Api
  readonly #callers: Callers
  readonly #drift: Drift
  readonly sender: Sender
  readonly #knowledge: Knowledge
  readonly tallies = new Map<string, Tally>()
  readonly refused: Request[] = []
  #large = 0
  #mailsRead = 0
  sent = 0

  constructor(api: Api, callers: Callers, drift: Drift) {
    this.#api = api
    this.#callers = callers
    this.#drift = drift
    this.#knowledge = new Knowledge(callers.spared)
    this.sender = new Sender(api.target.url)
  }

  /** @throws {Error} that shows request and answer, when something is wrong with the answer */
  async ask(operation: Operation, plan: Plan): Promise<void> {
    const { caller, user, request } = await this.#draft(operation, plan)
    this.sent++
    const answer = await this.sender.send(request)
    this.#count(operation, answer?.status ?? 0)
    if (!answer) return
    if (answer.status < 400) this.#learn(operation, user?.id, answer)
    else if (answer.status < 500) this.#keep(request)
    if (caller && user && isIntact(request, user)) this.#callers.look(caller, user, answer)
    const fault =
      faultOf(request.method, request.path, answer) ?? driftOf(this.#drift, request.method, request.path, answer)
    if (fault) throw new Error(`${fault}\n\n${shown(request)}\n\n${answer.status} ${answer.text.slice(0, 2_000)}`)
  }

  /** The same for a request that is no HTTP any more. @throws {Error} likewise */
  async askRaw(operation: Operation, plan: Plan, edits: Edits): Promise<void> {
    const { request } = await this.#draft(operation, plan)
    const bytes = edited(request, edits)
    this.sent++
    const text = await this.sender.sendRaw(bytes)
    const fault = faultOfRaw(text)
    if (fault)
      throw new Error(
        `${fault}\n\n${JSON.stringify(bytes.toString('latin1').slice(0, 4_000))}\n\n${text.slice(0, 2_000)}`,
      )
  }

  async #draft(operation: Operation, plan: Plan) {
    this.#readMails()
    const { role, n, cookie } = plan.caller
    const caller = await this.#callers.take(role, n)
    const user = caller?.user
    const credentials = user ? credentialsOf(user, cookie) : []
    const request = drafted(operation, plan, { knowledge: this.#knowledge, caller: user?.id, credentials })
    return { caller, user, request }
  }

  #count({ name }: Operation, status: number): void {
    const tally = this.tallies.get(name) ?? { sent: 0, statuses: new Map() }
    tally.sent++
    tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1)
    this.tallies.set(name, tally)
  }

  #keep(request: Request): void {
    if (request.body && request.body.length > LARGE.bytes && ++this.#large > LARGE.most) return
    this.refused.push(request)
  }

  /** Ids, ETags, cursors, and all texts by their names: what answers tell may be asked for, and sent, in later requests. */
  #learn({ name, path }: Operation, caller: string | undefined, { headers, body }: Answer): void {
    if (typeof headers.etag === 'string') this.#knowledge.add('etag', headers.etag)
    const [, where, id] = /^(\/.*)\/([^/]+)$/.exec(String(headers.location ?? '')) ?? []
    if (where && id) this.#knowledge.add(where, id, caller)
    if (body?.page?.next) this.#knowledge.add(`cursor of ${name}`, body.page.next)
    for (const thing of [body, body?.user, ...[body?.data].flat()]) {
      if (typeof thing !== 'object' || thing === null) continue
      // What is listed without an author is the caller's.
      if (typeof thing.id === 'string' && !path.includes('{'))
        this.#knowledge.add(path, thing.id, thing.author?.id ?? caller)
      // A bearer token is none of those that come by mail.
      for (const [key, value] of Object.entries(thing))
        if (typeof value === 'string' && key !== 'id' && key !== 'token') this.#knowledge.add(key, value)
    }
  }

  /** Tokens that come by mail are good for whoever has them. */
  #readMails(): void {
    const { mails } = this.#api.target.smtp
    for (; this.#mailsRead < mails.length; this.#mailsRead++) {
      const text = mails[this.#mailsRead]!.text.replace(/=\r\n/g, '').replaceAll('=3D', '=')
      for (const [, page, token] of text.matchAll(/([\w-]+)\?token=([\w-]{20,})/g))
        this.#knowledge.add(`token of ${page}`, token)
    }
  }
}

/** Whether a request still shows what its sender was given to show. */
function isIntact({ headers }: Request, { token, cookie }: User): boolean {
  const shown = headers.filter(([name]) => name === 'authorization' || name === 'cookie').map(([, value]) => value)
  return shown.length === 1 && (shown[0] === cookie || shown[0] === `Bearer ${token}`)
}
