import type { Agent } from 'undici'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { RemoteCall } from '../remote-call.ts'
import { RPC_PREFIX, SERVICE_HEADER } from '../wire.ts'
import { BATCH_HEADER, BATCH_TYPE, FULL, SENT_CALLS } from './lines-of-calls.ts'
import { Cancellation, type Entry, PendingCall } from './pending-call.ts'
import { SentBatch } from './sent-batch.ts'

interface LaneOptions {
  instance: Instance
  module: string
  caller: string
  agent: Agent
  tokens: SystemTokens
}

/** The way from one calling module to one instance of another: gathers calls until the event loop's turn ends. */
export class Lane {
  readonly #to: LaneOptions
  readonly #path: string
  /** Batches are told apart by this and a number. */
  readonly #name = crypto.randomUUID()
  #batches = 0
  #waiting: Entry[] = []

  constructor(to: LaneOptions) {
    this.#to = to
    this.#path = `${RPC_PREFIX}/${to.module}`
  }

  send(call: RemoteCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const pending = new PendingCall(call, resolve, reject)
      this.#add(pending)
      call.context.await(pending)
    })
  }

  #add(entry: Entry): void {
    if (this.#waiting.push(entry) === 1) setImmediate(() => this.#flush())
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    let batch: Entry[] = []
    let body = ''
    for (const entry of waiting) {
      if (entry.over) continue
      if (batch.length === SENT_CALLS || (batch.length > 0 && body.length + entry.size > FULL)) {
        this.#post(batch, body)
        batch = []
        body = ''
      }
      body += entry.line(this.#to.tokens)
      batch.push(entry)
    }
    if (batch.length > 0) this.#post(batch, body)
  }

  #post(entries: readonly Entry[], body: string): void {
    const { instance, module, caller, agent, tokens } = this.#to
    const id = `${this.#name}-${++this.#batches}`
    const batch = new SentBatch(module, instance, entries, (index) => this.#add(new Cancellation(id, index)))
    const headers: Record<string, string> = {
      'content-type': BATCH_TYPE,
      [SERVICE_HEADER]: tokens.service.sign(module, { caller }),
      [BATCH_HEADER]: id,
    }
    agent.dispatch({ origin: instance.origin, path: this.#path, method: 'POST', headers, body }, batch)
  }
}
