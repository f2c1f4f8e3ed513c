import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import { sql, type Transaction } from '../kit/tables.ts'

type Hear = (message: string | null) => unknown

/**
 * What the processes that host one module tell each other, over `NOTIFY` of its own database: heard when the transaction
 * has been committed, by all that are connected at that moment.
 */
export class Signals {
  readonly #channel: string
  readonly #log: FastifyBaseLogger
  readonly #listeners: Hear[] = []

  /** @param topic what only those hear who name it, too */
  constructor(module: string, log: FastifyBaseLogger, topic = 'signal') {
    this.#channel = `seam_${topic}_${module}`
    this.#log = log
  }

  async send(tx: Transaction, message: string): Promise<void> {
    await tx.execute(sql`select pg_notify(${this.#channel}, ${message})`)
  }

  hear(listener: Hear): void {
    this.#listeners.push(listener)
  }

  /** Begins to listen, if anybody wants to hear. Whenever the connection has been made again, something may have been missed. */
  async listen(db: Sql): Promise<void> {
    if (this.#listeners.length === 0) return
    await db.listen(
      this.#channel,
      (message) => this.#tell(message),
      () => this.#tell(null),
    )
  }

  #tell(message: string | null): void {
    for (const listener of this.#listeners)
      Promise.try(listener, message).catch((error) =>
        this.#log.error({ err: error }, 'a signal was heard and could not be followed'),
      )
  }
}
