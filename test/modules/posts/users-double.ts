import { Type } from 'typebox'
import { posts } from '../../../src/modules/posts/contract.ts'
import postsModule from '../../../src/modules/posts/module.ts'
import { users } from '../../../src/modules/users/contract.ts'
import { defineModule, definePlugin, type Manifest, type ModuleApp } from '../../../src/platform/kit/module.ts'
import { Id } from '../../../src/platform/kit/pages.ts'
import { newId } from '../../../src/platform/kit/tables.ts'

interface Name {
  firstName: string
  lastName: string
}

/** Users as a test wants them: who is known to `getUser`, and which events there are, is said by the test alone. */
export class UsersDouble {
  /** What `getUser` knows. */
  readonly known = new Map<string, Name>()
  /** Whom `getUser` was asked for. */
  readonly asked: string[] = []
  /** What the posts module has told. */
  readonly heard: {
    name: string
    sequence: number
    data: { postId: string; authorId: string; [more: string]: unknown }
  }[] = []
  #app: ModuleApp<typeof users> | undefined

  /** This in place of users, and posts. */
  get catalogue(): readonly Manifest[] {
    const double = defineModule(users, {
      subscribes: Object.values(posts.events),
      signsIn: true,
      plugin: async () => ({ default: definePlugin<typeof users>((app) => this.#build(app)) }),
    })
    return [double as Manifest, postsModule as Manifest]
  }

  created(userId: string, name: Name): Promise<void> {
    const data = { userId, email: 'somebody@example.com', verificationToken: 'x'.repeat(43), ...name }
    return this.#app!.db.transaction((tx) => this.#app!.publish(tx, users.events.userCreated, data))
  }

  updated(userId: string, name: Name): Promise<void> {
    const data = { userId, email: 'somebody@example.com', ...name }
    return this.#app!.db.transaction((tx) => this.#app!.publish(tx, users.events.userUpdated, data))
  }

  deleted(userId: string): Promise<void> {
    return this.#app!.db.transaction((tx) => this.#app!.publish(tx, users.events.userDeleted, { userId }))
  }

  #build(app: ModuleApp<typeof users>): void {
    this.#app = app
    app.implement({
      getUser: async ({ id }) => {
        this.asked.push(id)
        const name = this.known.get(id)
        if (!name) throw new users.errors.UserNotFound()
        return { id, ...name, postCount: 0, createdAt: new Date().toISOString() }
      },
    })
    for (const event of Object.values(posts.events))
      app.subscribe(event, async ({ name, data, sequence }) => void this.heard.push({ name, data, sequence }))
    app.post(
      '/api/auth/login',
      {
        config: { allow: 'anyone' },
        schema: { operationId: 'login', summary: 'Sign in', body: Type.Object({ userId: Id }) },
      },
      async (request) => {
        const identity = { userId: request.body.userId, roles: ['member' as const], sessionId: newId() }
        await app.sessions.start(request, identity)
        return app.sessions.token(identity)
      },
    )
  }
}
