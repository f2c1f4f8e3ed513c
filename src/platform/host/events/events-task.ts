import { parseArgs } from 'node:util'
import type { Task } from '../../kit/module.ts'
import { isOutside } from './outside/outside.ts'
import type { StuckEvent } from './stuck-events.ts'

/** What can be done about the events that one subscriber could not handle: a module that is hosted here, or a system outside. */
export interface StuckEventsOf {
  readonly name: string
  stuckEvents(options: { limit: number; id?: string | undefined }): Promise<StuckEvent[]>
  redrive(id?: string): Promise<number>
  discard(id: string): Promise<boolean>
}

/** The same of a module, and what can be done about the events that it has published. */
export interface HandledEventsOf extends StuckEventsOf {
  /**
   * Delivers what it has published since a moment (milliseconds since 1970) to a subscriber once more.
   *
   * @param to a module or a system outside, e.g. `webhook:crm`
   * @returns how many events; undefined when that one is told of none of its events
   */
  replay(to: string, since: number): Promise<number | undefined>
}

const USAGE =
  'Say list, show <id>, redrive <id>, redrive --all, discard <id> or replay --to <module or system outside> --since <time>; --module <name> looks at one module only.'
/** Events that one list shows of each module. */
const LISTED = 100

/**
 * `npm run seam -- events list|show|redrive|discard`: what operators do about events whose handlers have failed too often, or that no handler knows.
 * It looks at the modules that `MODULES` places here. `events replay` has what these have published handled again.
 */
export function eventsTask(modules: readonly (StuckEventsOf | HandledEventsOf)[]): Task {
  return {
    name: 'events',
    usage: 'list|show|redrive|discard|replay …',
    summary: 'Shows events that could not be handled, has them tried again, or gives them up; replays history.',
    async run(args) {
      const { positionals, values } = parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          module: { type: 'string' },
          all: { type: 'boolean', default: false },
          to: { type: 'string' },
          since: { type: 'string' },
        },
      })
      const [verb, id] = positionals
      const chosen = modules.filter(({ name }) => values.module === undefined || name === values.module)
      if (chosen.length === 0) throw new Error(`There is no module "${values.module}" here (MODULES).`)
      if (id !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
        throw new Error(`"${id}" is no id of an event. ${USAGE}`)

      if (verb === 'list') return list(chosen)
      if (verb === 'show' && id) return show(chosen, id)
      if (verb === 'redrive' && values.all && !id)
        return `${await sum(chosen, (module) => module.redrive())} events are tried again.`
      if (verb === 'redrive' && id && !values.all)
        return done(id, 'is tried again', await sum(chosen, (module) => module.redrive(id)))
      if (verb === 'discard' && id)
        return done(
          id,
          'is given up, and makes way',
          await sum(chosen, async (module) => Number(await module.discard(id))),
        )
      if (verb === 'replay' && values.to && values.since && !id)
        return replay(
          chosen.filter((one) => 'replay' in one),
          values.to,
          values.since,
        )
      throw new Error(USAGE)
    },
  }
}

async function list(modules: readonly StuckEventsOf[]): Promise<string> {
  const lines: string[] = []
  for (const { name, stuckEvents } of modules)
    for (const { delivery, state, since, attempts, errors, waiting } of await stuckEvents({ limit: LISTED })) {
      const kind = `${delivery.name} v${delivery.version}`
      const why = state === 'parked' ? `, as no process there knows ${kind}` : ''
      lines.push(`${delivery.id}  ${kind} at ${name}, ${state} since ${since}${why}`)
      lines.push(`  key ${delivery.key}; ${attempts} attempts; ${waiting} later events wait; ${errors[0]?.message}`)
    }
  return lines.length > 0 ? lines.join('\n') : 'No event is dead or parked.'
}

async function show(modules: readonly StuckEventsOf[], id: string): Promise<string> {
  const found = await Promise.all(
    modules.map(async ({ name, stuckEvents }) => ({ name, stuck: await stuckEvents({ limit: 1, id }) })),
  )
  const shown = found.flatMap(({ name, stuck }) => stuck.map((event) => ({ module: name, ...event })))
  if (shown.length === 0) throw new Error(`No event ${id} is dead or parked here (MODULES).`)
  return shown.map((event) => JSON.stringify(event, null, 2)).join('\n')
}

async function replay(modules: readonly HandledEventsOf[], to: string, time: string): Promise<string> {
  const since = Date.parse(time)
  if (!Number.isFinite(since) || since < 0)
    throw new Error(
      `"${time}" is no time. Say a day or a moment, as in --since 2026-11-20 or --since 2026-11-20T08:00:00Z.`,
    )
  const counts: number[] = []
  for (const module of modules) {
    const count = await module.replay(to, since)
    if (count !== undefined) counts.push(count)
  }
  if (counts.length === 0) {
    const variables = isOutside(to) ? 'MODULES, EVENTS_WEBHOOKS, EVENTS_AMQP_URL' : 'MODULES'
    throw new Error(`"${to}" subscribes to no event of the modules here (${variables}).`)
  }
  return `${counts.reduce((sum, count) => sum + count, 0)} events are replayed to "${to}".`
}

function done(id: string, what: string, count: number): string {
  if (count === 0) throw new Error(`No event ${id} is dead or parked here (MODULES).`)
  return `The event ${id} ${what}.`
}

/** One after the other: an id may be stuck at several subscribers. */
async function sum(
  modules: readonly StuckEventsOf[],
  work: (module: StuckEventsOf) => Promise<number>,
): Promise<number> {
  let total = 0
  for (const module of modules) total += await work(module)
  return total
}
