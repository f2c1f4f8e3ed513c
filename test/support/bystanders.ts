import type { Test } from 'tap'
import { Type } from 'typebox'
import notifications from '../../src/modules/notifications/module.ts'
import { posts } from '../../src/modules/posts/contract.ts'
import { users } from '../../src/modules/users/contract.ts'
import type { EventType } from '../../src/platform/kit/contract.ts'
import { defineModule, type Manifest, type ModuleApp } from '../../src/platform/kit/module.ts'
import { newId } from '../../src/platform/kit/tables.ts'
import { type Api, connect } from '../api/client.ts'
import type { TestSmtp } from './smtp.ts'
import { startTopology, type TopologyOptions } from './topology.ts'

const Anything = Type.Record(Type.String(), Type.Unknown())

/** Has a module publish whatever a test says: `POST <path> { event, data }`. */
function publishAt(app: ModuleApp, path: string, events: Record<string, EventType>): void {
  app.post(path, { config: { allow: 'anyone' }, schema: { body: Anything } }, async ({ body }) => {
    const event = events[String(body.event)]!
    await app.db.transaction((tx) => app.publish(tx, event as never, body.data as never))
    return {}
  })
}

/** The users module in name and events; it signs in whoever wants to be somebody, and has no users. */
const usersStandIn = defineModule(users, {
  signsIn: true,
  plugin: async () => ({
    default: (app) => {
      app.implement({
        getUser: () => {
          throw new users.errors.UserNotFound()
        },
      })
      app.post('/api/users/sign-in', { config: { allow: 'anyone' }, schema: { body: Anything } }, async (request) => {
        const { userId, roles } = request.body as { userId: string; roles: ('member' | 'admin')[] }
        const identity = { userId, roles, sessionId: newId() }
        await app.sessions.start(request, identity)
        return app.sessions.token(identity)
      })
      publishAt(app as unknown as ModuleApp, '/api/users/publish', users.events)
    },
  }),
})

const postsStandIn = defineModule(posts, {
  plugin: async () => ({
    default: (app) => publishAt(app as unknown as ModuleApp, '/api/posts/publish', posts.events),
  }),
})

const catalogue = [usersStandIn, postsStandIn, notifications] as unknown as readonly Manifest[]

/** Somebody as the notifications module knows them. */
export interface Person {
  id: string
  email: string
  firstName: string
  token: string
}

/** The notifications module in full, with bystanders that publish what a test wants in the place of the other two. */
export interface Scene {
  api: Api
  databaseUrl: string
  /** Has one of the other modules publish an event; it is handled soon. */
  publish(event: keyof typeof users.events | keyof typeof posts.events, data: object): Promise<void>
  /** Somebody who is signed in, and of whom this module knows nothing. */
  stranger(roles?: string[]): Promise<Person>
  /** Somebody who has just registered. */
  person(firstName?: string): Promise<Person>
  /** Somebody comments on a post of theirs. */
  comment(on: Person, excerpt?: string): Promise<void>
  close(): Promise<void>
}

let people = 0

/** Starts a {@link Scene}, which ends with the test. */
export async function scene(t: Test, options: TopologyOptions & { smtp?: TestSmtp } = {}): Promise<Scene> {
  const secret = 'a secret that only these tests know, of enough length'
  const env = { ...(options.smtp && { SMTP_URL: options.smtp.url }), ...options.env }
  const topology = await startTopology({ ...options, catalogue, env })
  t.teardown(() => topology.close())
  const api = connect(t, { url: topology.url, smtp: options.smtp!, secret })
  const publish: Scene['publish'] = async (event, data) => {
    const path = event in users.events ? '/api/users/publish' : '/api/posts/publish'
    const answer = await api.post(path, { event, data })
    if (answer.status !== 200) throw new Error(answer.text)
  }
  const stranger = async (roles = ['member']) => {
    const firstName = 'Ada'
    const id = newId()
    const email = `${firstName.toLowerCase()}.${process.pid}.${++people}@example.com`
    const { body } = await api.post('/api/users/sign-in', { userId: id, roles })
    return { id, email, firstName, token: body.token as string }
  }
  return {
    api,
    databaseUrl: topology.databaseUrl,
    publish,
    stranger,
    async person(firstName = 'Ada') {
      const person = { ...(await stranger()), firstName }
      const { id: userId, email } = person
      await publish('userCreated', {
        userId,
        email,
        firstName,
        lastName: 'Lovelace',
        verificationToken: `verify-${userId}`,
      })
      return person
    },
    async comment(on, excerpt = 'Well said.') {
      await publish('commentCreated', {
        commentId: newId(),
        postId: newId(),
        postTitle: 'On engines',
        postAuthorId: on.id,
        authorId: newId(),
        authorName: 'Bob',
        excerpt,
      })
    },
    close: () => topology.close(),
  }
}
