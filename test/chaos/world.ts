import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { acquireEmbeddedPostgres } from '../../src/platform/host/data/embedded-postgres.ts'
import { freePorts } from '../support/ports.ts'
import { type RedisServer, redisServer } from '../support/redis-server.ts'
import { startSmtp, type TestSmtp } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const ROOT = join(import.meta.dirname, '../..')
export const MODULES = ['users', 'posts', 'notifications'] as const
export type Module = (typeof MODULES)[number]
export type Queue = 'redis' | 'postgres'

/** A process of the system. */
export interface Member {
  readonly name: string
  readonly module: Module | undefined
  kill(): Promise<void>
  /** Starts it again, on the same port; resolves when it says that it is ready. */
  start(): Promise<void>
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  readonly output: string
}

/** Everything that a run may break: a system that is fully split, two processes of each module, and what it stands on. */
export interface World {
  readonly url: string
  readonly members: readonly Member[]
  readonly smtp: TestSmtp
  readonly redis: RedisServer | undefined
  /** A connection that is made anew when it was lost. */
  readonly sql: Sql
  /** Stops PostgreSQL as if the power had failed, and starts it again. */
  restartPostgres(): Promise<void>
  close(): Promise<void>
}

export async function openWorld(queue: Queue): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'seam-chaos-'))
  // Root runs PostgreSQL as another user.
  await chmod(folder, 0o755)
  const closing: (() => Promise<unknown> | unknown)[] = [() => rm(folder, { recursive: true, force: true })]
  const close = async () => {
    for (const step of closing.toReversed()) await step()
  }
  try {
    let server = await acquireEmbeddedPostgres({ folder: join(folder, 'postgres') })
    closing.push(() => server.release())
    const redis = queue === 'redis' ? await redisServer() : undefined
    await redis?.start()
    closing.push(() => redis?.signal('SIGKILL'))
    const smtp = await startSmtp()
    closing.push(() => smtp.close())
    const sql = postgres(server.url, { max: 2, onnotice: () => {}, connect_timeout: 5 })
    closing.push(() => sql.end({ timeout: 1 }))

    const names = ['gateway', ...MODULES.flatMap((module) => [`${module} 1`, `${module} 2`])]
    const ports = await freePorts(2 * names.length)
    const moduleOf = (name: string) => MODULES.find((module) => name.startsWith(module))
    const urlsOf = (module: Module) =>
      names.flatMap((name, n) => (moduleOf(name) === module ? [`http://127.0.0.1:${ports[2 * n]}`] : [])).join()
    const shared = {
      NODE_ENV: 'test',
      LOG_LEVEL: 'warn',
      SECRET: 'the secret of a system in chaos, of enough length',
      DATABASE_URL: server.url,
      ...(redis && { REDIS_URL: redis.url }),
      SMTP_URL: smtp.url,
      RATE_LIMIT: '1000000',
      LOGIN_LIMIT: '1000000',
      PASSWORD_MEMORY: '64',
      USERS_URL: urlsOf('users'),
      POSTS_URL: urlsOf('posts'),
      NOTIFICATIONS_URL: urlsOf('notifications'),
    }
    const members = names.map((name, n) => {
      const own = { PORT: `${ports[2 * n]}`, OPS_PORT: `${ports[2 * n + 1]}` }
      const module = moduleOf(name)
      return new MemberProcess(name, module, {
        ...shared,
        ...own,
        MODULES: module ?? 'none',
        EDGE: String(module === undefined),
      })
    })
    closing.push(() => Promise.all(members.map((member) => member.kill())))
    // Together they would all migrate at the same time, which is tested elsewhere and takes its time.
    await Promise.all(members.filter((_, n) => n % 2 === 1).map((member) => member.start()))
    await Promise.all(members.filter((_, n) => n % 2 === 0).map((member) => member.start()))
    await noteTurns(sql)
    return {
      url: `http://127.0.0.1:${ports[0]}`,
      members,
      smtp,
      redis,
      sql,
      async restartPostgres() {
        const [pid] = (await readFile(join(folder, 'postgres/cluster/data/postmaster.pid'), 'utf8')).split('\n')
        process.kill(Number(pid), 'SIGQUIT')
        // One that is still ending would be taken for one that runs.
        await until('the end of PostgreSQL', () => !isRunning(Number(pid)))
        const before = server
        server = await until('PostgreSQL', () =>
          acquireEmbeddedPostgres({ folder: join(folder, 'postgres') }).catch(() => undefined),
        )
        if (server.url !== before.url) throw new Error('PostgreSQL has another port now.')
        await before.release()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * Has every event of a user that posts handle noted in `chaos.turns`, in the transaction of its handler. Authors themselves
 * tell nothing of the order, since an earlier event does not overwrite a later one there; the trigger sees what was to be
 * written all the same. A row that is made by asking users is no event: it alone gives way to whatever is there.
 */
async function noteTurns(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create schema chaos;
    create table chaos.turns (n bigserial primary key, author_id uuid not null, version int not null, first_name text not null);
    create function chaos.note_turn() returns trigger language plpgsql security definer as $$
    begin
      if current_query() ~* 'on conflict .*do update' then
        insert into chaos.turns (author_id, version, first_name) values (new.id, new.version, new.first_name);
      end if;
      return new;
    end $$;
    create trigger note_turn before insert on posts.authors for each row execute function chaos.note_turn()`)
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

class MemberProcess implements Member {
  readonly name: string
  readonly module: Module | undefined
  output = ''
  readonly #env: Record<string, string>
  #child: ChildProcess | undefined

  constructor(name: string, module: Module | undefined, env: Record<string, string>) {
    this.name = name
    this.module = module
    this.#env = env
  }

  async start(end = performance.now() + 120_000): Promise<void> {
    const { PATH, HOME } = process.env
    const env = { ...(PATH && { PATH }), ...(HOME && { HOME }), ...this.#env }
    const child = spawn(process.execPath, ['src/main.ts'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let said = ''
    const keep = (chunk: Buffer) => {
      said += chunk
      this.output = `${this.output}${chunk}`.slice(-20_000)
    }
    child.stdout!.on('data', keep)
    child.stderr!.on('data', keep)
    while (!said.includes('Seam is ready.')) {
      // What it stands on may be gone at this moment: a supervisor would start it again.
      if (child.exitCode !== null && performance.now() < end) return sleep(200).then(() => this.start(end))
      if (child.signalCode !== null) return
      if (performance.now() > end) throw new Error(`${this.name} was not ready within 120 s:\n${said}`)
      await sleep(20)
    }
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal)
  }
}
