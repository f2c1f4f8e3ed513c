// What operators do by hand, as they do it: `npm run seam -- <task>`, a process of its own.
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { startTopology } from './support/topology.ts'

const SEAM = join(import.meta.dirname, '../src/seam.ts')
const SECRET = 'a secret that only these tests know, of enough length'

t.setTimeout(400_000)
const topology = await startTopology({ env: { SECRET }, start: false })
t.teardown(() => topology.close())

interface Result {
  code: number
  out: string
  err: string
}

/** Runs it to its end, at most 60 s. */
function seam(args: string[], env: Record<string, string> = {}): Promise<Result> {
  const { PATH = '' } = process.env
  const options = {
    env: { PATH, NODE_ENV: 'test', SECRET, DATABASE_URL: topology.databaseUrl, LOG_LEVEL: 'silent', ...env },
    timeout: 60_000,
  }
  return new Promise((resolve) => {
    execFile(process.execPath, [SEAM, ...args], options, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    )
  })
}

t.test('without a task, or with one that nobody has, it lists those that there are', async (t) => {
  const [none, elsewhere] = await Promise.all([
    seam([]),
    seam(['grant', 'ada@example.com', 'admin'], {
      MODULES: 'posts',
      USERS_URL: 'http://127.0.0.1:9',
      NOTIFICATIONS_URL: 'http://127.0.0.1:9',
    }),
  ])
  for (const { code, out } of [none, elsewhere]) t.match([code, out], [1, ''])
  t.match(
    none.err,
    /^Which task\?\n {2}npm run seam -- events list\|show\|redrive\|discard\|replay … +\S.*\.\n {2}npm run seam -- grant <email> <role> +\S.*\.\n/,
  )
  t.match(elsewhere.err, 'There is no task "grant" here (MODULES).')
})

t.test('a contract is printed as .proto without database and environment, on the stream for results', async (t) => {
  const nothing = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none', PORT: 'x' }
  const [users, unknown, none] = await Promise.all([
    seam(['proto', 'users'], nothing),
    seam(['proto', 'billing'], nothing),
    seam(['proto'], nothing),
  ])
  t.match([users.code, users.err], [0, ''])
  t.match(users.out, /^package seam\.users;$/m)
  t.match(users.out, /^ {2}rpc GetUser\(GetUserRequest\) returns \(GetUserResponse\);$/m)
  for (const { code, out } of [unknown, none]) t.match([code, out], [1, ''])
  t.equal(unknown.err, 'proto: There is no module "billing". Known: users, posts, notifications.\n')
  t.equal(none.err, 'proto: Which module? Known: users, posts, notifications.\n')
})

t.test('what a task has done is said, and holds in sessions under way', async (t) => {
  const { api } = topology.apps.get('main')!
  const email = `ada-${randomUUID()}@example.com`
  const payload = { email, password: 'a long enough password', firstName: 'Ada', lastName: 'Lovelace' }
  const registered = await api.inject({ method: 'POST', url: '/api/auth/register', payload })
  t.equal(registered.statusCode, 201)
  const { code, out, err } = await seam(['grant', email, 'admin'])
  t.match([code, err], [0, ''])
  t.match(out, email)
  const sql = postgres(topology.databaseUrl, { max: 1, onnotice: () => {} })
  const sessions = await sql`select data::text from seam.sessions`
  await sql.end()
  t.match(sessions[0]!.data, 'admin')
})

t.test('a task that fails says why, on the other stream, without a stack', async (t) => {
  const { code, out, err } = await seam(['grant', 'nobody@example.com', 'emperor'])
  t.match([code, out], [1, ''])
  t.match(err, /^grant: There is no role "emperor"\. .+\n$/, 'one line')
})

t.test('a configuration that does not do is said as at any start', async (t) => {
  const [wrong, away] = await Promise.all([
    seam([], { PORT: 'x' }),
    seam(['grant', 'a@example.com', 'admin'], { DATABASE_URL: 'postgres://nobody:hunter2@127.0.0.1:9/none' }),
  ])
  for (const { code, out, err } of [wrong, away]) {
    t.match([code, out], [1, ''])
    t.notMatch(err, /hunter2|\n {4}at /)
  }
  t.match(wrong.err, 'PORT')
  t.match(away.err, '127.0.0.1')
})
