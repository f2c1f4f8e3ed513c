import type { Answer, Api, User } from '../api/client.ts'
import type { Request, Role } from './requests.ts'
import { PASSWORD } from './schema.ts'

/** One of the people who ask. When they have lost their session, account or role, somebody else takes their place. */
export interface Caller {
  user: User
  readonly role: 'member' | 'admin'
  /** Requests that were sent as this user. */
  asked: number
  renewing: Promise<void> | undefined
}

/** After so many requests a caller is replaced, since they may have lost what makes them one without being told. */
const TERM = 200

/** Who asks the run's requests. An admin who asks nothing else makes the others admins. */
export class Callers {
  readonly #api: Api
  readonly #root: User
  readonly #callers: Record<'member' | 'admin', Caller[]>

  private constructor(api: Api, root: User, callers: Record<'member' | 'admin', Caller[]>) {
    this.#api = api
    this.#root = root
    this.#callers = callers
  }

  static async make(api: Api): Promise<Callers> {
    const callers = new Callers(api, await api.admin(), { member: [], admin: [] })
    for (const role of ['member', 'admin', 'member', 'admin', 'member'] as const)
      callers.#callers[role].push({ user: await callers.#user(role), role, asked: 0, renewing: undefined })
    return callers
  }

  /** The id and the address of the one without whom there would soon be no admins. */
  get spared(): string[] {
    return [this.#root.id, this.#root.email]
  }

  /** Whoever has a place; waits while it changes hands. */
  async take(role: Role, n: number): Promise<Caller | undefined> {
    if (role === 'nobody') return undefined
    const caller = this.#callers[role][n % this.#callers[role].length]!
    if (++caller.asked > TERM) this.#renew(caller)
    await caller.renewing
    return caller
  }

  /** Replaces whoever is not known any more, if the answer was to a request that they have sent. */
  look(caller: Caller, user: User, { status, body }: Answer): void {
    if (status === 401 && body?.code === 'Unauthenticated' && caller.user === user) this.#renew(caller)
  }

  #renew(caller: Caller): void {
    caller.renewing ??= this.#user(caller.role)
      .then((user) => {
        caller.user = user
        caller.asked = 0
      })
      .finally(() => {
        caller.renewing = undefined
      })
  }

  async #user(role: 'member' | 'admin'): Promise<User> {
    const user = await this.#api.register('Fuzz')
    if (user.password !== PASSWORD) throw new Error('All callers have one password.')
    if (role === 'member') return user
    const path = `/api/users/${user.id}/roles`
    const answer = await this.#api.send('PUT', path, { token: this.#root.token, json: { roles: ['member', role] } })
    if (answer.status !== 200) throw new Error(`Making an admin gave ${answer.status}: ${answer.text}`)
    return user
  }
}

/** What a user shows: a bearer token or the session's cookie. */
export const credentialsOf = ({ token, cookie }: User, byCookie: boolean): Request['headers'] =>
  byCookie ? [['cookie', cookie]] : [['authorization', `Bearer ${token}`]]
