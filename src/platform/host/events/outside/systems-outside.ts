import type { FastifyBaseLogger } from 'fastify'
import type { Outside } from './outside.ts'
import type { WebhookRule } from './webhook-rules.ts'

/** Where events are also handed to. */
export interface OutsideChoice {
  /** RabbitMQ; undefined: none. */
  readonly amqpUrl: string | undefined
  readonly webhooks: readonly WebhookRule[]
}

/** The systems outside that this process hands events to. Nothing is connected yet. */
export async function systemsOutside(choice: OutsideChoice, log: FastifyBaseLogger): Promise<Outside[]> {
  const systems: Outside[] = []
  if (choice.amqpUrl) systems.push((await import('./amqp-exchange.ts')).amqpExchange(choice.amqpUrl, log))
  if (choice.webhooks.length > 0) {
    const { webhook } = await import('./webhook.ts')
    for (const rule of choice.webhooks) systems.push(webhook(rule))
  }
  return systems
}
