import type { ContractEvent, EventType } from './contract.ts'

/** A system that is not Seam, as far as its messages concern us. Made by {@link defineExternal}. */
export interface External<V extends Record<string, EventType> = Record<string, EventType>> {
  readonly name: string
  readonly events: { readonly [K in keyof V]: ExternalEvent<V[K]> }
}

/** An event of a system that is not Seam. */
export type ExternalEvent<E extends EventType = EventType> = ContractEvent<E> & {
  /** The queue of RabbitMQ that it comes from. */
  readonly queue: string
}

/**
 * Declares what a system that is not Seam tells us by a queue of RabbitMQ (`EVENTS_AMQP_URL`). A module names its events in
 * `subscribes` and handles them by `app.subscribe`, as those of other modules: each message has one effect, by its id,
 * however often it comes. What is not as it is declared here is kept as a dead event.
 *
 * The queue is there already, and belongs to one module alone. Its messages are JSON; `event` is given the name that they
 * have in their `type`, and what is in them. They come in no order.
 *
 * @example
 * export const billing = defineExternal('billing', {
 *   queue: 'seam.invoices',
 *   events: { invoicePaid: event('invoice.paid', { version: 1, key: 'invoiceId', data: InvoicePaid }) },
 * })
 * // in module.ts: subscribes: [billing.events.invoicePaid]
 */
export function defineExternal<V extends Record<string, EventType>>(
  name: string,
  { queue, events }: { queue: string; events: V },
): External<V> {
  const each = Object.entries(events).map(([key, type]) => [key, { ...type, module: name, queue }])
  return { name, events: Object.fromEntries(each) }
}

/** Whether an event comes from a system that is not Seam. */
export const isExternal = (event: ContractEvent): event is ExternalEvent => 'queue' in event
