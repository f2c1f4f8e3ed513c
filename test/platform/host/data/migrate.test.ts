import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { globSync } from 'node:fs'
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { catalogue } from '../../../../src/modules/catalogue.ts'
import { BootError } from '../../../../src/platform/host/boot-error.ts'
import { roleOf } from '../../../../src/platform/host/data/databases.ts'
import { type Migrated, migrate, PLATFORM_SCHEMA } from '../../../../src/platform/host/data/migrate.ts'
import { freshDatabase } from '../../../support/database.ts'
import { run } from '../../../support/run.ts'

t.setTimeout(400_000)
const root = fileURLToPath(new URL('../../../..', import.meta.url))
const modules = catalogue.map(({ contract }) => contract.name)
const MIGRATE = { NODE_ENV: 'test', MODULES: 'all', REDIS_URL: undefined, LOG_LEVEL: 'silent' }

/** A database of its own, asked as its superuser. */
async function database(t: Test) {
  const { url, close } = await freshDatabase()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => {
    await sql.end()
    await close()
  })
  return { url, sql }
}

/** A module that nobody else has, with migrations of the given SQL; its role is removed at the end. */
async function module(t: Test, ...migrations: string[]) {
  const name = `t_${randomBytes(4).toString('hex')}`
  const folder = await mkdtemp(join(tmpdir(), 'seam-migrate-'))
  const write = async (...migrations: string[]) => {
    await mkdir(join(folder, name, 'meta'), { recursive: true })
    const entries = migrations.map((_, idx) => ({
      idx,
      version: '7',
      when: idx + 1,
      tag: `000${idx}_step`,
      breakpoints: true,
    }))
    await writeFile(
      join(folder, name, 'meta/_journal.json'),
      JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
    )
    for (const [idx, text] of migrations.entries())
      await writeFile(join(folder, name, `000${idx}_step.sql`), text.replaceAll('SCHEMA', name))
  }
  await write(...migrations)
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return { name, folder, write }
}

const dropRoles = (sql: postgres.Sql, names: string[]) =>
  Promise.all(
    names.map(async (name) => {
      await sql`drop owned by ${sql(name)}`.catch(() => {})
      await sql`drop role if exists ${sql(name)}`
    }),
  )

const faultOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it succeeded',
    (error) => (error instanceof BootError ? error.faults.join('\n') : Promise.reject(error)),
  )

t.test(
  'ten processes that migrate one empty database at once all succeed, and each migration is applied once',
  async (t) => {
    const { url, sql } = await database(t)
    const runs = await Promise.all(
      Array.from({ length: 10 }, () => run('src/migrate.ts', { ...MIGRATE, DATABASE_URL: url })),
    )
    for (const { code, stderr } of runs) t.equal(code, 0, stderr)
    const lines = runs.flatMap(({ stdout }) => stdout.trim().split('\n'))
    t.equal(lines.length, 10 * (modules.length + 2), 'one line for each schema')
    for (const schema of [PLATFORM_SCHEMA, ...modules, 'bullmq'])
      t.equal(lines.filter((line) => line === `${schema}: up to date`).length, 9, schema)
    for (const schema of [PLATFORM_SCHEMA, ...modules]) {
      const { entries } = JSON.parse(await readFile(join(root, 'migrations', schema, 'meta/_journal.json'), 'utf8'))
      const history = await sql`select created_at::float8 as when from ${sql(schema)}.__migrations order by id`
      t.same(
        history.map(({ when }) => when),
        entries.map(({ when }: { when: number }) => when),
      )
      t.equal(lines.filter((line) => line.startsWith(`${schema}: applied 0000_init`)).length, 1, schema)
    }
  },
)

t.test('a second run is quick and changes nothing', async (t) => {
  const { url, sql } = await database(t)
  const options = { folder: join(root, 'migrations'), schemas: [PLATFORM_SCHEMA, ...modules] }
  const first = await migrate(url, options)
  t.match(
    first,
    options.schemas.map((schema) => ({ schema, applied: ['0000_init'] })),
  )
  const catalogs = [
    'pg_class',
    'pg_namespace',
    'pg_default_acl',
    'pg_attribute',
    'pg_constraint',
    'pg_index',
    'pg_type',
  ]
  const snapshot = async () =>
    await Promise.all(
      catalogs.map((name) => sql`select md5(string_agg(xmin::text, ',' order by ctid)) as rows from ${sql(name)}`),
    )
  const before = await snapshot()
  const started = performance.now()
  const second = await migrate(url, options)
  const took = performance.now() - started
  t.ok(took < 500, `${took} ms`)
  t.same(
    second,
    options.schemas.map((schema): Migrated => ({ schema, applied: [] })),
  )
  t.same(await snapshot(), before)
})

t.test('a migration that fails names its schema and leaves nothing half done, and can be mended', async (t) => {
  const { url, sql } = await database(t)
  const good = 'create table "SCHEMA".good (id int)'
  const bad = 'create table "SCHEMA".half (id int);\n--> statement-breakpoint\nselect 1 / 0'
  const { name, folder, write } = await module(t, good)
  t.same(await migrate(url, { folder, schemas: [name] }), [{ schema: name, applied: ['0000_step'] }])

  await write(good, 'create table "SCHEMA".better (id int)', bad)
  const fault = await faultOf(migrate(url, { folder, schemas: [name] }))
  t.equal(fault, `The migration of "${name}" failed: division by zero.`)
  const tables = async () =>
    (await sql`select tablename from pg_tables where schemaname = ${name} order by 1`).map((row) => row.tablename)
  t.same(await tables(), ['__migrations', 'good'])
  t.equal((await sql`select from ${sql(name)}.__migrations`).length, 1)

  await write(good, 'create table "SCHEMA".better (id int)', 'create table "SCHEMA".half (id int)')
  t.same(await migrate(url, { folder, schemas: [name] }), [{ schema: name, applied: ['0001_step', '0002_step'] }])
  t.same(await tables(), ['__migrations', 'better', 'good', 'half'])
  await dropRoles(sql, [roleOf(name)])
})

t.test('a program that is older than the schema is refused', async (t) => {
  const { url, sql } = await database(t)
  const { name, folder, write } = await module(t, 'select 1', 'create table "SCHEMA".later (id int)')
  const options = { folder, schemas: [name] }
  await migrate(url, options)
  await write('select 1')
  t.match(await faultOf(migrate(url, options)), `"${name}" failed: it is of a newer version than this program`)
  await dropRoles(sql, [roleOf(name)])
})

t.test('databases of one server that make the same role at once do not disturb each other', async (t) => {
  const databases = await Promise.all(Array.from({ length: 5 }, () => database(t)))
  for (let round = 0; round < 4; round++) {
    const { name, folder } = await module(t, 'create table "SCHEMA".things (id int)')
    const results = await Promise.all(databases.map(({ url }) => migrate(url, { folder, schemas: [name] })))
    t.same(
      results,
      databases.map(() => [{ schema: name, applied: ['0000_step'] }]),
    )
    for (const { sql } of databases) await sql`drop owned by ${sql(roleOf(name))}`
    await databases[0]!.sql`drop role ${databases[0]!.sql(roleOf(name))}`
  }
})

t.test('a database that came from a dump, without roles and privileges, gets them back', async (t) => {
  const { url, sql } = await database(t)
  const { name, folder } = await module(t, 'create table "SCHEMA".things (id serial)')
  await migrate(url, { folder, schemas: [name] })
  await sql`drop owned by ${sql(roleOf(name))}`
  await sql`drop role ${sql(roleOf(name))}`
  t.same(await migrate(url, { folder, schemas: [name] }), [{ schema: name, applied: [] }])
  await sql.begin(async (tx) => {
    await tx`set local role ${sql(roleOf(name))}`
    await tx`insert into ${sql(name)}.things default values`
  })
  t.equal((await sql`select from ${sql(name)}.things`).length, 1)
  await dropRoles(sql, [roleOf(name)])
})

t.test('logins that are no superusers', async (t) => {
  const { url, sql } = await database(t)
  const name = new URL(url).pathname.slice(1)
  const logins: string[] = []
  const login = async (attributes: string) => {
    const login = `t_login_${randomBytes(4).toString('hex')}`
    await sql.unsafe(`create role ${login} login password 'secret' ${attributes}`)
    logins.push(login)
    const as = new URL(url)
    as.username = login
    as.password = 'secret'
    return { login, url: as.href }
  }
  const { name: schema, folder } = await module(t, 'create table "SCHEMA".things (id int)')
  t.teardown(async () => {
    const admin = postgres(process.env.TEST_DATABASE_URL ?? url.replace(/[^/]+$/, 'seam'), {
      max: 1,
      onnotice: () => {},
    })
    await admin`drop database ${admin(name)} with (force)`
    await dropRoles(admin, [roleOf(schema), ...logins])
    await admin.end()
  })
  const owner = await login('createrole')
  await sql.unsafe(`alter database ${name} owner to ${owner.login}`)

  await t.test('the owner of the database with CREATEROLE migrates, and may take the roles it made', async (t) => {
    t.same(await migrate(owner.url, { folder, schemas: [schema] }), [{ schema, applied: ['0000_step'] }])
    const as = postgres(owner.url, {
      max: 1,
      connection: { role: roleOf(schema), search_path: schema } as Record<string, string>,
    })
    await as`insert into things values (1)`
    t.equal((await as`select from things`).length, 1)
    await t.rejects(as`create table mine (id int)`, { code: '42501' }, 'but the role itself makes no tables')
    await as.end()
  })

  await t.test('a member of the roles may run it where nothing is to be done', async (t) => {
    const member = await login('')
    await sql.unsafe(`grant ${roleOf(schema)} to ${member.login}`)
    t.same(await migrate(member.url, { folder, schemas: [schema] }), [{ schema, applied: [] }])
  })

  await t.test('one that may not make roles is told what it lacks', async (t) => {
    const { url } = await login('')
    const { name, folder } = await module(t, 'select 1')
    const fault = await faultOf(migrate(url, { folder, schemas: [name] }))
    t.match(fault, `The migration of "${name}" failed: permission denied to create role`)
    t.match(fault, 'Log in as the owner of the database with CREATEROLE')
    t.equal(fault.split('\n').length, 1)
  })

  await t.test('one that may make roles, but no schemas, is told what it lacks', async (t) => {
    const { url } = await login('createrole')
    const { name, folder } = await module(t, 'select 1')
    t.match(
      await faultOf(migrate(url, { folder, schemas: [name] })),
      /permission denied for database .*Log in as the owner/,
    )
    await dropRoles(sql, [roleOf(name)])
  })

  await t.test('one that meets another login’s role is told whom to ask for what', async (t) => {
    const other = await login('createrole')
    await sql.unsafe(`alter database ${name} owner to ${other.login}`)
    const fault = await faultOf(migrate(other.url, { folder, schemas: [schema] }))
    t.match(fault, `another login has made the role "${roleOf(schema)}"`)
    t.match(fault, `grant "${roleOf(schema)}" to "${other.login}"`)
  })
})

t.test('a database that cannot be reached gives one line, no password, and code 1, in bounded time', async (t) => {
  const timed = async (env: Record<string, string>) => {
    const started = performance.now()
    const result = await run('src/migrate.ts', { ...MIGRATE, ...env })
    return { ...result, took: performance.now() - started }
  }
  // How long the program takes to start is the machine's affair.
  const { took: start } = await timed({ DATABASE_URL: 'no address' })
  const { code, stdout, stderr, took } = await timed({ DATABASE_URL: 'postgres://me:hidden@127.0.0.1:1/none' })
  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(stderr.trim(), 'PostgreSQL at 127.0.0.1:1/none cannot be used: connect ECONNREFUSED 127.0.0.1:1.')
  t.ok(took - start < 6_000, `${took} ms`)
})

t.test('a wrong password, and a database that is not there, give PostgreSQL’s own words', async (t) => {
  const { url } = await database(t)
  const wrong = new URL(url)
  wrong.password = 'hidden'
  const options = { folder: join(root, 'migrations'), schemas: ['users'] }
  t.match(
    await faultOf(migrate(wrong.href, options)),
    /cannot be used: password authentication failed for user "seam"\.$/,
  )
  t.match(await faultOf(migrate(`${url}_not`, options)), /cannot be used: database ".*_not" does not exist\.$/)
})

t.test('a faulty environment gives a line for each fault, and code 1', async (t) => {
  const { code, stderr } = await run('src/migrate.ts', { ...MIGRATE, DATABASE_URL: 'mysql://x', MODULES: 'nothing' })
  t.equal(code, 1)
  const lines = stderr.trim().split('\n')
  t.equal(lines.length, 2, stderr)
  t.match(lines[0], /^DATABASE_URL is not valid/)
  t.match(lines[1], /^MODULES names "nothing"/)
})

t.test('only what is kept in PostgreSQL is migrated there: with a Redis, no sessions and no queue', async (t) => {
  const { url, sql } = await database(t)
  const other = await database(t)
  const env = { ...MIGRATE, DATABASE_URL: url, POSTS_DATABASE_URL: other.url, REDIS_URL: 'redis://127.0.0.1:1' }
  const { code, stdout } = await run('src/migrate.ts', { ...env, MODULES: 'users', POSTS_URL: 'http://127.0.0.1:1' })
  t.equal(code, 0)
  t.match(
    stdout.trim().split('\n').sort(),
    ['notifications', 'posts', 'users'].map((name) => new RegExp(`^${name}: applied 0000_init`)),
  )
  const schemas = async (sql: postgres.Sql) =>
    (
      await sql`select nspname as name from pg_namespace where nspname !~ '^pg_|information_schema|public' order by 1`
    ).map(({ name }) => name)
  t.same(await schemas(sql), ['notifications', 'users'])
  t.same(await schemas(other.sql), ['posts'])
})

t.test('the migrations are what the tables ask for', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'seam-drift-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const part of ['src', 'migrations', 'drizzle.config.ts', 'package.json'])
    await cp(join(root, part), join(folder, part), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const files = () => globSync('migrations/**/*.*', { cwd: folder }).sort()
  const generate = async (module: string) => {
    const kit = join(root, 'node_modules/drizzle-kit/bin.cjs')
    const { stdout } = await promisify(execFile)(process.execPath, [kit, 'generate', '--config', 'drizzle.config.ts'], {
      cwd: folder,
      env: { ...process.env, MODULE: module },
    })
    return stdout
  }
  const before = files()
  for (const module of [PLATFORM_SCHEMA, ...modules]) t.match(await generate(module), /No schema changes/, module)
  t.same(files(), before)

  // And it would be seen if they were not.
  await appendFile(
    join(folder, 'src/modules/posts/tables.ts'),
    "\nexport const more = schema.table('more', { id: id() })\n",
  )
  await generate('posts')
  t.ok(files().length > before.length)
})
