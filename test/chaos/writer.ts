import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { Random } from './random.ts'

/** What was done, as far as its doers were told. */
export interface Model {
  users: { id: string; email: string; name: string; renamed: number }[]
  posts: Map<string, { authorId: string }>
  deleted: number
  /** By id; whether the author of the post is somebody else, who hears of it. */
  comments: Map<string, { toOther: boolean }>
}

interface Author {
  id: string
  email: string
  token: string
  model: Model['users'][number]
}

/** How long one request is tried, in milliseconds. */
const PATIENCE = 240_000
const PASSWORD = 'correct horse battery'

/** Registers people, who write posts, comment on them and change their names, one after the other, whatever happens. */
export class Writer {
  readonly model: Model = { users: [], posts: new Map(), deleted: 0, comments: new Map() }
  /** How many requests were answered otherwise than was wished for, and sent again. */
  repeated = 0
  readonly #url: string
  readonly #random: Random
  readonly #run = randomUUID().slice(0, 8)
  readonly #agent = new Agent({ connections: 32, headersTimeout: 15_000, bodyTimeout: 15_000 })
  readonly #authors: Author[] = []
  #registered = 0
  #stopped = false

  constructor(url: string, random: Random) {
    this.#url = url
    this.#random = random
  }

  /** Events that were published for what was done. */
  get events(): number {
    const { users, posts, deleted, comments } = this.model
    return (
      users.length + users.reduce((sum, { renamed }) => sum + renamed, 0) + posts.size + 2 * deleted + comments.size
    )
  }

  /** Does things until {@link stop}, `workers` at a time. */
  async work(workers: number): Promise<void> {
    await this.#register()
    await Promise.all(
      Array.from({ length: workers }, async () => {
        while (!this.#stopped) await this.#doSomething()
      }),
    )
  }

  /** What was begun is ended still. */
  stop(): void {
    this.#stopped = true
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  async #doSomething(): Promise<void> {
    const random = this.#random
    const chance = random.next()
    if (chance < 0.15) return this.#register()
    const author = random.of(this.#authors)
    if (chance < 0.5) return this.#post(author)
    if (chance < 0.6) return this.#rename(author)
    const [postId, post] = random.of([...this.model.posts].slice(-20)) ?? []
    if (!postId || !post) return this.#post(author)
    if (chance < 0.65) return this.#delete(postId, post)
    return this.#comment(author, postId, post)
  }

  async #register(): Promise<void> {
    const email = `${this.#run}.${++this.#registered}@example.com`
    const body = { email, password: PASSWORD, firstName: 'v0', lastName: 'Chaos' }
    const answer = await this.#ask('POST', '/api/auth/register', { body, good: [201] })
    const model = { id: answer.user.id, email, name: 'v0', renamed: 0 }
    this.model.users.push(model)
    this.#authors.push({ id: answer.user.id, email, token: answer.token, model })
  }

  async #post(author: Author): Promise<void> {
    const body = { title: 'In chaos', content: 'All goes on.' }
    const { data } = await this.#ask('POST', '/api/posts', { body, author, good: [201] })
    this.model.posts.set(data.id, { authorId: author.id })
  }

  async #comment(author: Author, postId: string, post: { authorId: string }): Promise<void> {
    const body = { content: 'So it does.' }
    const answer = await this.#ask('POST', `/api/posts/${postId}/comments`, { body, author, good: [201, 404] })
    // Somebody else has deleted the post meanwhile.
    if (answer.data) this.model.comments.set(answer.data.id, { toOther: post.authorId !== author.id })
  }

  async #delete(postId: string, post: { authorId: string }): Promise<void> {
    // Whoever gets it out of the model has it to delete.
    if (!this.model.posts.delete(postId)) return
    const author = this.#authors.find(({ id }) => id === post.authorId)!
    await this.#ask('DELETE', `/api/posts/${postId}`, { author, good: [204, 404] })
    this.model.deleted++
  }

  async #rename(author: Author): Promise<void> {
    const { model } = author
    // One at a time for each author, and each on top of the one before: no attempt that was given up can come later.
    const before = this.#renaming.get(author.id)
    const renaming = (async () => {
      await before
      const name = `v${model.renamed + 1}`
      for (let isDone = false; !isDone; ) {
        const { etag, ...profile } = await this.#ask('GET', '/api/profile', { author, good: [200] })
        isDone = profile.data.firstName === name
        if (!isDone)
          await this.#ask('PATCH', '/api/profile', { body: { firstName: name }, author, etag, good: [200, 412] })
      }
      model.renamed++
      model.name = name
    })()
    this.#renaming.set(author.id, renaming)
    await renaming
  }
  readonly #renaming = new Map<string, Promise<void>>()

  /** Sends a request until it is answered well, under one idempotency key; signs in again when the session is lost. */
  async #ask(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    { body, author, etag, good }: { body?: object; author?: Author; etag?: string; good: readonly number[] },
  ): Promise<any> {
    const key = randomUUID()
    const end = Date.now() + PATIENCE
    for (let last = ''; Date.now() < end; this.repeated++) {
      const headers = {
        ...(body && { 'content-type': 'application/json' }),
        ...(author && { authorization: `Bearer ${author.token}` }),
        ...(method === 'POST' && { 'idempotency-key': key }),
        ...(etag && { 'if-match': etag }),
      }
      try {
        const sent = { method, headers, dispatcher: this.#agent, ...(body && { body: JSON.stringify(body) }) }
        const answer = await request(this.#url + path, sent)
        const text = await answer.body.text()
        if (good.includes(answer.statusCode)) return { ...(text && JSON.parse(text)), etag: answer.headers.etag }
        last = `${answer.statusCode} ${text}`
        if (answer.statusCode === 401 && author) await this.#signIn(author)
        else if (answer.statusCode < 500 && answer.statusCode !== 409 && answer.statusCode !== 429)
          throw new Refused(`${method} ${path} was answered ${last}`)
      } catch (error) {
        if (error instanceof Refused) throw error
        last = String(error)
      }
      if (Date.now() + 1_000 > end) throw new Error(`${method} ${path} had no good answer in ${PATIENCE} ms: ${last}`)
      await sleep(100 + Math.random() * 200)
    }
  }

  async #signIn(author: Author): Promise<void> {
    const body = JSON.stringify({ email: author.email, password: PASSWORD })
    const headers = { 'content-type': 'application/json' }
    const answer = await request(`${this.#url}/api/auth/login`, {
      method: 'POST',
      headers,
      body,
      dispatcher: this.#agent,
    })
    const signedIn: any = await answer.body.json()
    if (answer.statusCode === 200) author.token = signedIn.token
  }
}

/** An answer that no repetition makes better. */
class Refused extends Error {}
