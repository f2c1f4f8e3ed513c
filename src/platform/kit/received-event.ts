import type { Transaction } from './tables.ts'

/** An event as a subscriber receives it. */
export interface ReceivedEvent<D = unknown> {
  /** UUIDv7; the same however often the event is delivered. */
  readonly id: string
  readonly name: string
  readonly version: number
  readonly key: string
  /** Grows with the events of one key in its publishing module, from 1; after a replay some numbers are missing. */
  readonly sequence: number
  /** ISO 8601, UTC. */
  readonly occurredAt: string
  /** Whether it is history that was asked for, and not news. It may have taken effect here before. */
  readonly isReplayed: boolean
  readonly data: D
}

/** The transaction in which an event is handled; what it writes is committed together with the note that it was handled. */
export interface Handling {
  readonly tx: Transaction
  /**
   * Runs a function before the commit, when all events that share the transaction have been handled; the same function once. For
   * rows that handlers of other keys change too: changed here, in one order, no two transactions wait for each other in a circle.
   */
  beforeCommit(run: (tx: Transaction) => Promise<void>): void
  /** Runs a function after the commit; it is lost when the process dies in between, so it may only speed things up. */
  afterCommit(run: () => void): void
}
