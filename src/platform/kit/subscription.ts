import type { ContractEvent } from './contract.ts'

/** How a module takes an event that it subscribes to. */
export interface SubscriptionOptions {
  /**
   * `true`: it is handled as soon as it comes, whether or not the earlier ones of its key have been. Still exactly once
   * (default: in the order of its key).
   */
  readonly unordered?: boolean
  /** `true`: a new subscriber is given all of the event's history that is still kept, first (default: it begins with what comes). */
  readonly replay?: boolean
}

/** An event in a manifest's `subscribes`, with how it is taken. Made by {@link subscription}. */
export interface Subscription {
  readonly event: ContractEvent
  readonly options: SubscriptionOptions
}

/**
 * Subscribes to an event in another than the ordinary way.
 *
 * @example subscribes: [users.events.userDeleted, subscription(posts.events.postCreated, { replay: true })]
 */
export function subscription(event: ContractEvent, options: SubscriptionOptions): Subscription {
  return { event, options }
}
