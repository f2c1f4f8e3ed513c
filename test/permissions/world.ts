import { createSigner } from 'fast-jwt'
import { keyFor, systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { type Api, type Ask, type User, until } from '../api/client.ts'
import type { Caller } from './table.ts'

type Others = Record<'member' | 'moderator' | 'admin', User>

/** The people and things that one row of the table is asked with. The owner is new for each question, for it may be their last. */
export class World {
  readonly #api: Api
  readonly owner: User
  readonly #others: Others

  private constructor(api: Api, owner: User, others: Others) {
    this.#api = api
    this.owner = owner
    this.#others = others
  }

  static async make(api: Api): Promise<World> {
    const [owner, member, moderator, admin] = await Promise.all([
      api.register('Owner'),
      api.register('Member'),
      api.admin('moderator'),
      api.admin(),
    ])
    return new World(api, owner, { member, moderator, admin })
  }

  /** The same world with an owner of its own. */
  async anew(): Promise<World> {
    return new World(this.#api, await this.#api.register('Owner'), this.#others)
  }

  /** What a caller shows. Whoever signs out or changes a password does it in a session of their own. */
  async credentials(caller: Caller, module: string): Promise<Ask> {
    const { secret } = this.#api.target
    switch (caller) {
      case 'nobody':
        return {}
      case 'owner':
        return { token: this.owner.token }
      case 'internal service':
        return { headers: { 'x-seam-service': systemTokens(secret).service.sign(module, { caller: 'posts' }) } }
      case 'expired token': {
        const [, payload = ''] = this.owner.token.split('.')
        const { claims } = JSON.parse(Buffer.from(payload, 'base64url').toString())
        const seconds = Math.floor(Date.now() / 1000)
        const sign = createSigner({ key: keyFor(secret, 'user token'), algorithm: 'HS256' })
        return { token: sign({ aud: 'api', claims, iat: seconds - 7200, exp: seconds - 3600 }) }
      }
      case 'revoked session': {
        const user = await this.#api.register('Gone')
        await this.#ok(this.#api.post('/api/auth/logout', undefined, { token: user.token }))
        return { token: user.token }
      }
      case 'deleted user': {
        const user = await this.#api.register('Dead')
        await this.#ok(this.#api.send('DELETE', `/api/users/${user.id}`, { token: user.token }))
        return { token: user.token }
      }
      default:
        return { token: await this.#signIn(this.#others[caller]) }
    }
  }

  post = () => this.#make('/api/posts', { title: 'Mine', content: 'Hands off.' })
  draft = () => this.#make('/api/posts', { title: 'Mine', content: 'Not yet.', status: 'draft' })
  comment = async () => this.#make(`/api/posts/${await this.post()}/comments`, { content: 'Mine.' })
  subscription = (json: object) => this.#make('/api/push/subscriptions', json)
  email = () => this.#make('/api/email', { to: 'somebody@example.com', subject: 'Hello', text: 'Hello.' }, 'admin')
  sms = () => this.#make('/api/sms', { to: '+4915112345678', text: 'Hello.' }, 'admin')

  async notification(): Promise<string> {
    const list = await until(
      () => this.#api.get('/api/notifications', { token: this.owner.token }),
      ({ body }) => body.data.length > 0,
    )
    return list.body.data[0].id
  }

  async refreshToken(): Promise<string> {
    const { email, password } = this.owner
    return (await this.#ok(this.#api.post('/api/auth/login', { email, password }))).refreshToken
  }

  /** A session of the owner that is not the one with which they ask. */
  async otherSession(): Promise<string> {
    const token = await this.#signIn(this.owner)
    const [, payload = ''] = token.split('.')
    return JSON.parse(Buffer.from(payload, 'base64url').toString()).claims.sessionId
  }

  async #signIn({ email, password }: User): Promise<string> {
    return (await this.#ok(this.#api.post('/api/auth/login', { email, password }))).token
  }

  async #make(path: string, json: object, by: 'owner' | 'admin' = 'owner'): Promise<string> {
    // The admin's first session has ended when a row has changed their password.
    const token = by === 'owner' ? this.owner.token : await this.#signIn(this.#others.admin)
    return (await this.#ok(this.#api.post(path, json, { token }))).data.id
  }

  async #ok(asked: ReturnType<Api['get']>): Promise<any> {
    const answer = await asked
    if (answer.status >= 300) throw new Error(`A row could not be prepared: ${answer.status} ${answer.text}`)
    return answer.body
  }
}
