import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { Delivery, DeliveryId, Transport } from './delivery.ts'

/** Confirmations are gathered for this long, in milliseconds; a lost one only has its event delivered once more. */
const DELAY = 20

/** Tells publishers which of their events need no more attention of one subscriber: those of a moment together. */
export class Confirmations {
  readonly #subscriber: string
  readonly #modules: ReadonlySet<string>
  readonly #transport: Transport
  readonly #log: FastifyBaseLogger
  /** By publisher. */
  readonly #gathered = new Map<string, DeliveryId[]>()
  #timer: NodeJS.Timeout | undefined
  #sending = Promise.resolve()

  /** @param options.modules all that there are, wherever they run */
  constructor(
    subscriber: string,
    options: { modules: ReadonlySet<string>; transport: Transport; log: FastifyBaseLogger },
  ) {
    this.#subscriber = subscriber
    this.#modules = options.modules
    this.#transport = options.transport
    this.#log = options.log
  }

  add({ publisher, id, place }: Pick<Delivery, 'publisher' | 'id' | 'place'>): void {
    // A system outside has been told already, and a queue that is of no module would be read by nobody.
    if (!this.#modules.has(publisher)) return
    const deliveries = this.#gathered.get(publisher)
    if (deliveries) deliveries.push({ id, place })
    else this.#gathered.set(publisher, [{ id, place }])
    this.#timer ??= setTimeout(() => void this.flush(), DELAY).unref()
  }

  /** Sends what is still being gathered, and waits for what is on its way. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sending = this.#sending.then(() => this.#send())
    return this.#sending
  }

  async #send(): Promise<void> {
    const gathered = [...this.#gathered]
    this.#gathered.clear()
    const send = async ([publisher, deliveries]: [string, DeliveryId[]]) => {
      const confirmation = { subscriber: this.#subscriber, deliveries }
      try {
        await this.#transport.send(publisher, [{ kind: 'confirmation', id: randomUUID(), confirmation }])
      } catch (error) {
        const outcome = 'a confirmation was lost; its events will be delivered again and change nothing'
        this.#log.debug({ err: error, publisher }, outcome)
      }
    }
    await Promise.all(gathered.map(send))
  }
}
