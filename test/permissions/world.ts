import { createSigner } from 'fast-jwt'
import { keyFor, systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { type Api, type Ask, type User, until } from '../api/client.ts'
import type { Caller } from './table.ts'

type People = Record<'owner' | 'member' | 'moderator' | 'admin' | 'revoked session' | 'deleted user', User>

/** The people and things that the rows of the table are asked with. */
export class World {
  readonly #api: Api
  readonly #people: People

  private constructor(api: Api, people: People) {
    this.#api = api
    this.#people = people
  }

  static async make(api: Api): Promise<World> {
    const [owner, member, gone, dead, moderator, admin] = await Promise.all([
      ...['Owner', 'Member', 'Gone', 'Dead'].map((name) => api.register(name)),
      api.admin('moderator'),
      api.admin(),
    ] as Promise<User>[])
    const world = new World(api, {
      owner: owner!,
      member: member!,
      moderator: moderator!,
      admin: admin!,
      'revoked session': gone!,
      'deleted user': dead!,
    })
    await world.#ok(api.send('POST', '/api/auth/logout', { token: gone!.token }))
    await world.#ok(api.send('DELETE', `/api/users/${dead!.id}`, { token: dead!.token }))
    return world
  }

  /** The same world with another owner. */
  async withNewOwner(): Promise<World> {
    return new World(this.#api, { ...this.#people, owner: await this.#api.register('Owner') })
  }

  get owner(): User {
    return this.#people.owner
  }

  /** What a caller shows. */
  credentials(caller: Caller, module: string): Ask {
    const { secret } = this.#api.target
    switch (caller) {
      case 'nobody':
        return {}
      case 'internal service':
        return { headers: { 'x-seam-service': systemTokens(secret).service.sign(module, { caller: 'posts' }) } }
      case 'expired token': {
        const seconds = Math.floor(Date.now() / 1000)
        const sign = createSigner({ key: keyFor(secret, 'user token'), algorithm: 'HS256' })
        const claims = claimsOf(this.owner.token)
        return { token: sign({ aud: 'api', claims, iat: seconds - 7200, exp: seconds - 3600 }) }
      }
      default:
        return { token: this.#people[caller].token }
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
  otherSession = async (): Promise<string> => claimsOf(await this.#signIn(this.owner)).sessionId

  async #signIn({ email, password }: User): Promise<string> {
    return (await this.#ok(this.#api.post('/api/auth/login', { email, password }))).token
  }

  async #make(path: string, json: object, by: 'owner' | 'admin' = 'owner'): Promise<string> {
    return (await this.#ok(this.#api.post(path, json, { token: this.#people[by].token }))).data.id
  }

  async #ok(asked: ReturnType<Api['get']>): Promise<any> {
    const answer = await asked
    if (answer.status >= 300) throw new Error(`A row could not be prepared: ${answer.status} ${answer.text}`)
    return answer.body
  }
}

function claimsOf(token: string): { userId: string; sessionId: string } {
  const [, payload = ''] = token.split('.')
  return JSON.parse(Buffer.from(payload, 'base64url').toString()).claims
}
