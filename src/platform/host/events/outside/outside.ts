import type { Delivery } from '../delivery.ts'

/**
 * A system that is not Seam and is told of events: a broker, or somebody's URL. To the outbox it is a subscriber like any
 * other; only the way there differs, since it has no inbox.
 */
export interface Outside {
  /** As the outbox knows it, e.g. `webhook:crm`. */
  readonly name: string
  /** How many events of one module a process hands over at a time. */
  readonly concurrency: number
  /** Seconds between attempts; an event that fails once more after these is dead. */
  readonly pauses: readonly number[]
  wants(event: string): boolean
  /** Whether to try at all. While it is false the events stay where they are. */
  isReady(): boolean
  /** Has somebody told each time that it is ready again. */
  onReady(tell: () => void): void
  /**
   * Hands one event over, in at most {@link PATIENCE}. Resolves once the system has it for good.
   *
   * @throws {NotNow} when this event is not to blame, so that it is tried again without end
   * @throws {NotYet} when the system says when to come again
   * @throws {Error} when the system did not take this event
   */
  handOver(event: Delivery): Promise<void>
  /** Begins to connect, in the background, where there is something to connect. */
  open(): Promise<void>
  /** Cuts off what is under way. */
  close(): Promise<void>
}

/** How long handing over one event may take, in milliseconds. */
export const PATIENCE = 15_000

/** The system as a whole cannot be used at the moment. */
export class NotNow extends Error {}

/** The system refuses, and wants to be asked again in so many seconds. */
export class NotYet extends Error {
  readonly seconds: number

  constructor(message: string, seconds: number) {
    super(message)
    this.seconds = seconds
  }
}

/** Whether a subscriber or a publisher is no module of this system. No module's name has a colon, so none can be mistaken. */
export const isOutside = (name: string): boolean => name.includes(':')
