import type { ContractEvent } from '../../kit/contract.ts'
import type { Handling, Manifest, ReceivedEvent } from '../../kit/module.ts'
import type { Signals } from '../signals.ts'
import type { CacheStore } from './store.ts'
import { isCached, outdatingEventsOf, tagOf, tagsOf } from './tags.ts'

type Handle = (event: ReceivedEvent, handling: Handling) => Promise<void>

/** The most that one signal carries, in bytes. */
const LONGEST = 7_000

/**
 * Ends the answers that a module has been given when events of those who gave them say so. What the store does not show to
 * all processes by itself, the others that host the module are told at the commit.
 */
export class Outdating {
  readonly events: readonly ContractEvent[]
  readonly #store: CacheStore
  readonly #signals: Signals

  constructor(manifest: Manifest, options: { store: CacheStore; signals: Signals }) {
    this.events = outdatingEventsOf(manifest)
    this.#store = options.store
    this.#signals = options.signals
    const everything = manifest.uses.filter(isCached).map(({ name }) => tagOf(name))
    if (everything.length === 0) return
    this.#signals.hear((message) => {
      if (message !== null) return this.#store.outdate(JSON.parse(message))
      // A word may have been missed. What all share was told there.
      return this.#store.shared ? undefined : this.#store.outdate(everything)
    })
  }

  /** The same handler, before which answers are ended, if the event does that. */
  before(event: ContractEvent, handle: Handle): Handle {
    if (!this.events.includes(event)) return handle
    return async (received, handling) => {
      const tags = tagsOf(event.module, event.outdates?.(received.data))
      if (tags.length > 0 && !(await this.#store.outdate(tags))) {
        const message = JSON.stringify(tags)
        const isLong = Buffer.byteLength(message) > LONGEST
        await this.#signals.send(handling.tx, isLong ? JSON.stringify([tagOf(event.module)]) : message)
      }
      await handle(received, handling)
    }
  }
}
