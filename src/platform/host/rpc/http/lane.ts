import type { Agent } from 'undici'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { RemoteCall } from '../remote-call.ts'
import { RPC_PREFIX, SERVICE_HEADER } from '../wire.ts'
import { BATCH_HEADER, BATCH_TYPE, FULL, SENT_CALLS } from './lines-of-calls.ts'
import { Cancellation, type Entry, PendingCall } from './pending-call.ts'
import { SentBatch } from './sent-batch.ts'

/** How long cancellations may keep a connection, in milliseconds. */
const UNAWAITED = 1_000

interface LaneOptions {
  instance: Instance
  module: string
  caller: string
  agent: Agent
  tokens: SystemTokens
}

/**
 * The way from one calling module to one instance of another. While a request is under way, it gathers calls until the event
 * loop's turn ends; else only those that are made together, for then nothing is won by waiting, and the turn takes a twentieth
 * of the time of a call.
 */
export class Lane {
  readonly #to: LaneOptions
  readonly #path: string
  /** Batches are told apart by this and a number. */
  readonly #name = crypto.randomUUID()
  #batches = 0
  #underWay = 0
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
    if (this.#waiting.push(entry) > 1) return
    if (this.#underWay > 0) setImmediate(() => this.#flush())
    else process.nextTick(() => this.#flush())
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
    this.#underWay++
    const batch = new SentBatch(module, instance, entries, {
      cancel: (index) => this.#add(new Cancellation(id, index)),
      ended: () => this.#underWay--,
    })
    const headers: Record<string, string> = {
      'content-type': BATCH_TYPE,
      [SERVICE_HEADER]: tokens.service.sign(module, { caller }),
      [BATCH_HEADER]: id,
    }
    // Of what is awaited, the calls have deadlines.
    const limit = batch.isAwaited ? 0 : UNAWAITED
    const timeouts = { headersTimeout: limit, bodyTimeout: limit }
    agent.dispatch({ origin: instance.origin, path: this.#path, method: 'POST', headers, body, ...timeouts }, batch)
  }
}
