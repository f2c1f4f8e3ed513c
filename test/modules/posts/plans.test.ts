import { createRequire } from 'node:module'
import type { FastifyInstance } from 'fastify'
import pino from 'pino'
import postgres from 'postgres'
import t from 'tap'
import { fill } from '../../../scripts/seed/fill.ts'
import postsModule from '../../../src/modules/posts/module.ts'
import usersModule from '../../../src/modules/users/module.ts'
import { migrate } from '../../../src/platform/host/data/migrate.ts'
import { createServer } from '../../../src/platform/host/http/server.ts'
import { signedCursors } from '../../../src/platform/host/identity/cursors.ts'
import { mountModule } from '../../../src/platform/host/mount.ts'
import type { Manifest, ModuleServices } from '../../../src/platform/kit/module.ts'
import type { Identity } from '../../../src/platform/kit/permissions.ts'
import type { Database } from '../../../src/platform/kit/tables.ts'
import { freshDatabase } from '../../support/database.ts'

const require = createRequire(import.meta.url)
const { drizzle } = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js')

interface Statement {
  text: string
  values: unknown[]
}

t.setTimeout(240_000)
t.test('at size, what the routes ask for is found by an index, and no table is read from end to end', async (t) => {
  t.setTimeout(240_000)
  const database = await freshDatabase()
  t.teardown(() => database.close())
  const migrations = new URL('../../../migrations', import.meta.url).pathname
  await migrate(database.url, { folder: migrations, schemas: ['users', 'posts'] })
  const amounts = { users: 10_000, posts: 15_000, comments: 30_000 }
  await fill({ users: database.url, posts: database.url }, { ...amounts, seed: 1, password: 'correct horse battery' })

  // One connection for a module, so that it has the module's search path when a plan is asked for.
  const open = (module: string) =>
    postgres(database.url, {
      max: 1,
      fetch_types: false,
      onnotice: () => {},
      // As for disks of today: a word that is in a third of all posts would be looked for in all of them otherwise.
      connection: { search_path: module, random_page_cost: 1.1 } as object,
    })
  const connections = { posts: open('posts'), users: open('users') }
  t.teardown(() => Promise.all(Object.values(connections).map((sql) => sql.end({ timeout: 1 }))))
  const [author] = await connections.posts`
    select author_id as id from posts where status = 'draft' group by author_id order by count(*) desc limit 1`
  const [post] =
    await connections.posts`select post_id as id from comments group by post_id order by count(*) desc limit 1`
  const [comment] = await connections.posts`select id from comments limit 1`

  const sent: Statement[] = []
  const identity: Identity = { userId: author!.id, roles: ['admin'], sessionId: author!.id }
  const server = await serverOf(identity, [
    [postsModule as Manifest, loggedOn(connections.posts, sent)],
    [usersModule as Manifest, loggedOn(connections.users, sent)],
  ])
  t.teardown(() => server.close())

  const paths = {
    posts: [
      '/api/posts',
      `/api/posts?author=${author!.id}`,
      '/api/posts?tag=history',
      '/api/posts?tag=trains',
      '/api/posts?tag=none',
      `/api/posts?tag=history&author=${author!.id}`,
      '/api/posts?status=draft',
      '/api/posts?status=draft&tag=history',
      '/api/posts?q=engine',
      '/api/posts?q=%22early+map%22+-garden',
      '/api/posts?q=nothing',
      `/api/posts?q=engine&author=${author!.id}`,
      '/api/posts?q=engine&tag=history',
      '/api/posts?q=engine&status=draft',
      `/api/posts/${post!.id}`,
      `/api/posts/${post!.id}/comments`,
      `/api/comments/${comment!.id}`,
      '/api/tags',
      '/api/tags?prefix=h',
    ],
    users: [
      `/api/users/${author!.id}`,
      '/api/users',
      '/api/users?q=ada',
      '/api/users?q=ada+lov',
      '/api/users?role=admin',
    ],
  }
  for (const [module, asked] of Object.entries(paths) as [keyof typeof connections, string[]][]) {
    for (const path of asked) {
      await t.test(path, async (t) => {
        sent.length = 0
        const first = await server.inject({
          url: `${path}${path.includes('?') ? '&' : '?'}limit=3`.replace(/(\/[0-9a-f-]{36})\?limit=3$/, '$1'),
        })
        t.equal(first.statusCode, 200, first.body)
        t.equal(sent.length, 1, 'one statement')
        const { next } = first.json().page ?? {}
        if (next) {
          const more = await server.inject({ url: `${path}${path.includes('?') ? '&' : '?'}cursor=${next}` })
          t.equal(more.statusCode, 200, more.body)
        }
        for (const { text, values } of sent.splice(0)) {
          const sql = connections[module]
          const [known] = await sql.unsafe(`explain (format json) ${text}`, values as never[])
          const [general] = await sql.unsafe(`explain (generic_plan, format json) ${text}`)
          for (const [what, plan] of [
            ['with these values', known],
            ['with any', general],
          ] as const) {
            const nodes = nodesOf(plan!['QUERY PLAN'][0].Plan)
            t.strictSame(nodes.filter(readsAll).map(describe), [], `nothing is read from end to end, planned ${what}`)
            t.ok(
              nodes.some((node) => /Index/.test(node['Node Type'])),
              'an index is used',
            )
          }
        }
      })
    }
  }
})

type Node = Record<string, any>

const nodesOf = (plan: Node): Node[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
const readsAll = (node: Node): boolean => node['Node Type'] === 'Seq Scan'
const describe = (node: Node): string => `${node['Node Type']} on ${node['Relation Name']}: ${node.Filter}`

/** drizzle as a module has it, that tells what it sends. */
const loggedOn = (sql: postgres.Sql, sent: Statement[]): Database =>
  drizzle(sql, { logger: { logQuery: (text, values) => void sent.push({ text, values }) } })

/** The routes of modules on databases of ours, asked by whoever we say. They only read, so nothing else of a module is there. */
async function serverOf(identity: Identity, modules: [Manifest, Database][]): Promise<FastifyInstance> {
  const server = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
  server.addHook('onRequest', async (request) => {
    request.identity = identity
  })
  const nothing = () => {}
  for (const [manifest, db] of modules) {
    const services = {
      db,
      settings: {},
      cursors: signedCursors('a secret that only these tests know, of enough length', manifest.contract.name),
      call: () => new Proxy({}, { get: () => nothing }),
      implement: nothing,
      subscribe: nothing,
      publish: nothing,
      sweep: () => ({ wake: nothing }),
      once: nothing,
      signal: nothing,
      onSignal: nothing,
      sessions: {},
      task: nothing,
    } as unknown as ModuleServices
    await mountModule(server, manifest, { services })
  }
  await server.ready()
  return server
}
