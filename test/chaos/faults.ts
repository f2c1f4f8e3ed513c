import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Random } from './random.ts'
import { MODULES, type Module, type World } from './world.ts'

/** Something that goes wrong. Times are in milliseconds. */
export type Fault =
  | { kind: 'kill'; member: number; down: number }
  | { kind: 'kill after commit'; module: Module }
  | { kind: 'stop'; member: number; pause: number }
  | { kind: 'redis restarted'; down: number }
  | { kind: 'redis emptied' }
  | { kind: 'postgres restarted' }
  | { kind: 'connections cut' }
  | { kind: 'delivered again'; module: Module }
  | { kind: 'delivered late'; module: Module; delay: number }

export interface Planned {
  /** After the fault before, in milliseconds. */
  readonly pause: number
  readonly fault: Fault
}

/** Longer than a message is locked for its handler (10 s), after which others take it over. */
const LONGER_THAN_A_LOCK = 12_000

/** The faults of a seed. In the long form everything happens at least once, also what takes its time. */
export function scheduleOf(random: Random, options: { count: number; redis: boolean; long: boolean }): Planned[] {
  const kinds: (() => Fault)[] = [
    () => ({ kind: 'kill', member: random.below(7), down: random.below(1_500) }),
    () => ({ kind: 'kill after commit', module: random.of(MODULES) }),
    () => ({ kind: 'connections cut' }),
    () => ({ kind: 'delivered again', module: random.of(MODULES) }),
    () => ({ kind: 'delivered late', module: random.of(MODULES), delay: 500 + random.below(2_500) }),
    () => ({ kind: 'postgres restarted' }),
    () => ({ kind: 'stop', member: 1 + random.below(6), pause: options.long ? LONGER_THAN_A_LOCK : 1_000 }),
  ]
  if (options.redis)
    kinds.push(
      () => ({ kind: 'redis emptied' }),
      () => ({ kind: 'redis restarted', down: random.below(3_000) }),
    )
  const rest = Array.from({ length: Math.max(0, options.count - kinds.length) }, () => random.of(kinds))
  const faults = shuffled(random, [...kinds, ...rest].slice(0, Math.max(options.count, kinds.length)))
  const planned = faults.map((fault) => ({ pause: 200 + random.below(options.long ? 4_000 : 600), fault: fault() }))
  // Once, Redis is gone for a minute.
  if (options.redis && options.long)
    planned.splice(planned.length >> 1, 0, { pause: 1_000, fault: { kind: 'redis restarted', down: 60_000 } })
  return planned
}

function shuffled<T>(random: Random, values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, at: random.next() }))
    .sort((one, other) => one.at - other.at)
    .map(({ value }) => value)
}

/** Has a fault happen, and waits until what was broken works again; what it does not break it does not look at. */
export async function cause(world: World, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case 'kill':
      return restart(world, [fault.member], fault.down)
    case 'kill after commit':
      await commitOf(world, fault.module)
      // Its confirmation is gathered for 20 ms, so it is lost with the process.
      return restart(world, membersOf(world, fault.module), 0)
    case 'stop': {
      const member = world.members[fault.member]!
      member.signal('SIGSTOP')
      await sleep(fault.pause)
      return member.signal('SIGCONT')
    }
    case 'redis restarted':
      await world.redis?.signal('SIGKILL')
      await sleep(fault.down)
      return world.redis?.start()
    case 'redis emptied':
      return world.redis?.flush()
    case 'postgres restarted':
      return world.restartPostgres()
    case 'connections cut':
      await patiently(
        () => world.sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where backend_type = 'client backend' and pid <> pg_backend_pid() and random() < 0.5`,
      )
      return world.redis?.cut()
    case 'delivered again':
      await patiently(
        () => world.sql`
          update ${world.sql(fault.module)}.outbox_deliveries set confirmed_at = null, due_at = now()
          where ctid in (select ctid from ${world.sql(fault.module)}.outbox_deliveries
            where confirmed_at is not null order by random() limit 30)`,
      )
      return
    case 'delivered late':
      await patiently(
        () => world.sql`
          update ${world.sql(fault.module)}.outbox_deliveries set due_at = now() + make_interval(secs => ${fault.delay / 1000})
          where confirmed_at is null and random() < 0.5`,
      )
  }
}

/** For people: `kill users 2, for 830 ms`. */
export function describe(world: World, fault: Fault): string {
  const what = 'member' in fault ? world.members[fault.member]!.name : 'module' in fault ? fault.module : ''
  const time =
    'down' in fault ? fault.down : 'pause' in fault ? fault.pause : 'delay' in fault ? fault.delay : undefined
  return [fault.kind, what, time === undefined ? '' : `for ${time} ms`].filter(Boolean).join(' ')
}

const membersOf = (world: World, module: Module) =>
  world.members.flatMap((member, n) => (member.module === module ? [n] : []))

async function restart(world: World, members: readonly number[], down: number): Promise<void> {
  await Promise.all(members.map((n) => world.members[n]!.kill()))
  await sleep(down)
  await Promise.all(members.map((n) => world.members[n]!.start()))
}

/** Resolves right after a handler of the module has committed, at most 5 s later. */
async function commitOf(world: World, module: Module): Promise<void> {
  const { sql } = world
  const channel = `chaos_${module}`
  const listener = postgres(urlOf(sql), { max: 1, onnotice: () => {} })
  try {
    await patiently(
      () => sql`
        create or replace function ${sql(module)}.chaos_turn() returns trigger language plpgsql as
          ${sql.unsafe(`$$ begin perform pg_notify('${channel}', ''); return null; end $$`)}`,
    )
    await patiently(
      () => sql`
        create or replace trigger chaos_turn after insert or update on ${sql(module)}.inbox_keys
        for each statement execute function ${sql(module)}.chaos_turn()`,
    )
    const { promise, resolve } = Promise.withResolvers<void>()
    await listener.listen(channel, () => resolve())
    await Promise.race([promise, sleep(5_000)])
  } finally {
    await listener.end({ timeout: 1 })
    await patiently(() => sql`drop trigger if exists chaos_turn on ${sql(module)}.inbox_keys`)
  }
}

const urlOf = (sql: postgres.Sql): string => {
  const { host, port, user, pass, database } = sql.options
  return `postgres://${user}:${pass}@${host[0]}:${port[0]}/${database}`
}

/** PostgreSQL may be starting again at this moment. */
async function patiently<T>(work: () => PromiseLike<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (tries === 40) throw error
      await sleep(250)
    }
  }
}
