import type { Contract } from '../kit/contract.ts'
import { isExternal } from '../kit/external.ts'
import type { Manifest, SubscriptionOptions } from '../kit/module.ts'
import { outdatingEventsOf } from './cache/tags.ts'
import type { Subscriber } from './events/outbox.ts'

/** Which modules this process hosts, and which it reaches elsewhere. */
export interface Placement {
  readonly all: readonly Manifest[]
  readonly hosted: readonly Manifest[]
  readonly remote: readonly Manifest[]
  hosts(module: string): boolean
  /** The modules that are told of an event: they handle it, or it ends answers that they keep. */
  subscribersOf(event: object): readonly Subscriber[]
}

/**
 * Places the modules of a catalogue, after checking that they fit together and that everything a hosted module calls can
 * be reached. Returns everything that is wrong, for one message.
 *
 * @param modules `all`, `none`, or names
 * @param reachable whether an address is known for a module that runs elsewhere
 */
export function place(
  catalogue: readonly Manifest[],
  modules: 'all' | 'none' | readonly string[],
  reachable: (module: string) => boolean,
): { placement: Placement; faults: string[] } {
  const names = catalogue.map(({ contract }) => contract.name)
  const wanted = modules === 'all' ? names : modules === 'none' ? [] : modules
  const hosted = catalogue.filter(({ contract }) => wanted.includes(contract.name))
  const remote = catalogue.filter((manifest) => !hosted.includes(manifest))
  const told = catalogue.map((manifest) => ({
    name: manifest.contract.name,
    events: new Set<object>([...manifest.subscribes, ...outdatingEventsOf(manifest)]),
    options: manifest.subscriptions as ReadonlyMap<object, SubscriptionOptions>,
  }))
  const placement: Placement = {
    all: catalogue,
    hosted,
    remote,
    hosts: (module) => hosted.some(({ contract }) => contract.name === module),
    subscribersOf: (event) =>
      told
        .filter(({ events }) => events.has(event))
        .map(({ name, options }) => {
          const { unordered = false, replay = false } = options.get(event) ?? {}
          return { name, unordered, replay }
        }),
  }
  const faults = [
    ...wanted
      .filter((name) => !names.includes(name))
      .map(
        (name) =>
          `MODULES names "${name}", which is no module. Known: ${names.join(', ')}. Example: MODULES=${names[0] ?? 'all'}`,
      ),
    ...faultsOfCatalogue(catalogue),
    ...hosted.flatMap(({ contract, uses }) =>
      uses
        .filter((used) => names.includes(used?.name) && !placement.hosts(used.name) && !reachable(used.name))
        .map(
          ({ name }) =>
            `${variable(name)}_URL is missing: "${contract.name}" is hosted here and calls "${name}", which is not. Example: ${variable(name)}_URL=http://127.0.0.1:8001`,
        ),
    ),
  ]
  return { placement, faults }
}

/** A module's name as variables begin with it. */
export const variable = (module: string): string => module.toUpperCase().replaceAll('-', '_')

/** Everything that is wrong with a set of modules, wherever they run. */
function faultsOfCatalogue(catalogue: readonly Manifest[]): string[] {
  const contracts = catalogue.map(({ contract }) => contract)
  const events = new Set<object>(contracts.flatMap(({ events }) => Object.values(events)))
  const faults: string[] = []
  for (const { contract, uses, subscribes } of catalogue) {
    if (!/^[a-z][a-z0-9-]*$/.test(contract.name) || contract.name === 'seam')
      faults.push(
        `"${contract.name}" cannot be a module's name: lower case letters, digits and hyphens, and not "seam".`,
      )
    for (const used of uses) {
      if (!contracts.includes(used))
        faults.push(`"${contract.name}" uses "${used?.name}", which is not in the catalogue.`)
    }
    for (const event of subscribes) {
      if (!events.has(event) && !(event && isExternal(event)))
        faults.push(
          `"${contract.name}" subscribes to ${event ? `"${event.name}"` : 'an event'}, which no contract in the catalogue has.`,
        )
    }
  }
  faults.push(...doubles(contracts, 'are both called', ({ name }) => [name]))
  faults.push(...doubles(contracts, 'both claim the REST prefix', ({ routes }) => routes))
  faults.push(
    ...doubles(contracts, 'both have the event', ({ events }) =>
      Object.values(events).map(({ name, version }) => `${name} v${version}`),
    ),
  )
  faults.push(...faultsOfQueues(catalogue))
  faults.push(...nestedPrefixes(contracts))
  for (const cycle of cyclesIn(catalogue)) {
    faults.push(
      `Modules call each other in a circle: ${cycle.join(' -> ')}. Let one of them learn from the other's events instead.`,
    )
  }
  return faults
}

/** Of two modules on one queue each would get half of the messages, of two events of one name nobody would know which it is. */
function faultsOfQueues(catalogue: readonly Manifest[]): string[] {
  const faults: string[] = []
  const owners = new Map<string, string>()
  for (const { contract, subscribes } of catalogue) {
    const names = new Set<string>()
    for (const { queue, name } of subscribes.filter((event) => event && isExternal(event))) {
      const owner = owners.get(queue) ?? contract.name
      if (owner !== contract.name) faults.push(`"${owner}" and "${contract.name}" both read the queue "${queue}".`)
      owners.set(queue, owner)
      if (names.has(name)) faults.push(`"${contract.name}" subscribes to two events "${name}" from outside.`)
      names.add(name)
    }
  }
  return faults
}

/** What the platform answers itself, below `/api`. */
const OWN_PREFIX = '/api/health'

function nestedPrefixes(contracts: readonly Contract[]): string[] {
  const prefixes = [
    { prefix: OWN_PREFIX, owner: 'the platform' },
    ...contracts.flatMap(({ name, routes }) => routes.map((prefix) => ({ prefix, owner: `"${name}"` }))),
  ]
  return prefixes.flatMap((outer) =>
    prefixes
      .filter(
        (inner) => inner !== outer && `${inner.prefix}/`.startsWith(`${outer.prefix}/`) && inner.owner !== outer.owner,
      )
      .filter((inner) => inner.prefix !== outer.prefix || outer.prefix === OWN_PREFIX)
      .map(
        (inner) =>
          `${inner.owner} claims the REST prefix "${inner.prefix}", which lies in "${outer.prefix}" of ${outer.owner}.`,
      ),
  )
}

function doubles(
  contracts: readonly Contract[],
  what: string,
  values: (contract: Contract) => readonly string[],
): string[] {
  const owners = new Map<string, string>()
  const faults: string[] = []
  for (const contract of contracts) {
    for (const value of values(contract)) {
      const owner = owners.get(value)
      if (owner !== undefined) faults.push(`"${owner}" and "${contract.name}" ${what} "${value}".`)
      owners.set(value, contract.name)
    }
  }
  return faults
}

function cyclesIn(catalogue: readonly Manifest[]): string[][] {
  const uses = new Map(catalogue.map((manifest) => [manifest.contract.name, manifest.uses.map((used) => used?.name)]))
  const done = new Set<string>()
  const cycles: string[][] = []
  const visit = (name: string, path: string[]) => {
    if (path.includes(name)) {
      cycles.push([...path.slice(path.indexOf(name)), name])
    } else if (!done.has(name)) {
      for (const next of uses.get(name) ?? []) visit(next, [...path, name])
      done.add(name)
    }
  }
  for (const name of uses.keys()) visit(name, [])
  return cycles
}
