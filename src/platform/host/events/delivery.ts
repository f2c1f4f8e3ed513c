import type { Row } from 'postgres'

/** An event as it travels from its outbox to a subscriber. */
export interface Delivery {
  id: string
  /** The publishing module. */
  publisher: string
  name: string
  version: number
  key: string
  sequence: number
  /** Its place in the order of its key at this subscriber: the sequence number, or a later one when it is replayed. */
  place: number
  /** The place that the subscriber must have handled before; 0: none; null: the subscription needs no order. */
  after: number | null
  occurredAt: string
  data: unknown
  requestId: string | null
  traceparent: string | null
}

/** A delivery as a statement has read it, with the columns of `outbox` and `place` and `after` of `outbox_deliveries`. */
export function deliveryOf(publisher: string, row: Row): Delivery {
  return {
    id: row.id,
    publisher,
    name: row.name,
    version: row.version,
    key: row.key,
    sequence: Number(row.sequence),
    place: Number(row.place),
    after: row.after === null ? null : Number(row.after),
    occurredAt: row.occurred_at,
    data: JSON.parse(row.data),
    requestId: row.request_id,
    traceparent: row.traceparent,
  }
}

/** What says which delivery is meant: an event that is replayed is delivered once more, at another place. */
export type DeliveryId = Pick<Delivery, 'id' | 'place'>

/** What a subscriber tells the publisher: these events have taken effect. */
export interface Confirmation {
  subscriber: string
  deliveries: readonly DeliveryId[]
}

/** What a module finds in its queue: events that it subscribes to, and confirmations of events that it published. */
export type Message =
  | { kind: 'events'; id: string; events: readonly Delivery[] }
  | { kind: 'confirmation'; id: string; confirmation: Confirmation }

/** Carries messages between modules, at least once, in no order. One queue for each module. */
export interface Transport {
  /** For people: what the queues run on. */
  readonly name: string
  /** @throws when the queue cannot be reached; nothing may be lost then, so whoever sends keeps it and tries again */
  send(module: string, messages: readonly Message[]): Promise<void>
  /**
   * Has every message of a module's queue handled, by this process or another one. A rejection has it tried again later.
   * Who else can write to the queue may have put anything there.
   */
  receive(module: string, handle: (message: unknown) => Promise<void>): Promise<Receiver>
  /** How many messages are in a module's queue, or under way from it; undefined where that cannot be said soon. */
  waiting(module: string): Promise<number | undefined>
  /** Ends sending, within 1 s. Stop the receivers first. */
  close(): Promise<void>
}

/** One process's part in handling a module's queue. */
export interface Receiver {
  /** Takes no further message and waits for those under way, at most 3 s; who is cut off has the message handled again. */
  stop(): Promise<void>
}
