import type { TSchema } from 'typebox'
import type { ContractEvent, EventType } from '../../kit/contract.ts'
import type { ReceivedEvent } from '../../kit/module.ts'
import { codecOf, deepFreeze } from '../codec.ts'
import type { Delivery } from './delivery.ts'

/** Whether an event type reads events that were published as `version` of it, older ones by its upcasts. */
export function reads({ version, upcasts }: EventType, published: number): boolean {
  for (let old = published; old < version; old++) if (!upcasts?.[old]) return false
  return published <= version
}

/**
 * A delivery as the version of its event that the subscriber knows. Fields that this version does not have are left out: a
 * publisher of the next release may have added them.
 *
 * @throws {Error} with the paths of what is wrong, when the data are not what the contract says
 */
export function readEvent(event: ContractEvent, delivery: Delivery): ReceivedEvent {
  const { id, name, key, sequence, place, occurredAt } = delivery
  let data = delivery.data
  for (let old = delivery.version; old < event.version; old++) {
    const { data: shape, next } = event.upcasts![old]!
    data = next(checked(shape, data, `${name} v${old}`) as never)
  }
  data = deepFreeze(checked(event.data, data, `${name} v${event.version}`))
  return { id, name, version: event.version, key, sequence, occurredAt, isReplayed: place !== sequence, data }
}

function checked(schema: TSchema, data: unknown, what: string): unknown {
  const codec = codecOf(schema)
  const known = codec.check(data) ? data : codec.known(data)
  const faults = codec.faults(known).map(({ path, message }) => `${path} ${message}`)
  if (faults.length > 0) throw new Error(`${what} is not what its contract says: ${faults.join(', ')}.`)
  return known
}
