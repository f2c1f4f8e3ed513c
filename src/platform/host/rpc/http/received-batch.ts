import type { ServerResponse } from 'node:http'
import type { RequestContext } from '../../request-context.ts'
import { BATCH_TYPE } from './lines-of-calls.ts'

/** A request with some calls in it, on the side that answers. Answers that are there in the same turn of the event loop are written together. */
export class ReceivedBatch {
  readonly #response: ServerResponse
  readonly #contexts: (RequestContext | undefined)[]
  #left: number
  #ready = ''
  #scheduled = false

  constructor(response: ServerResponse, size: number) {
    this.#response = response
    this.#left = size
    this.#contexts = new Array(size)
  }

  began(index: number, context: RequestContext): void {
    this.#contexts[index] = context
  }

  answer(index: number, line: string): void {
    this.#contexts[index] = undefined
    this.#ready += line
    this.#left--
    if (this.#left === 0) this.#write()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        if (this.#ready !== '') this.#write()
      })
    }
  }

  cancel(index: number): void {
    this.#contexts[index]?.end()
  }

  /** Nobody waits for any of it any more. */
  end(): void {
    for (const context of this.#contexts) context?.end()
  }

  #write(): void {
    const response = this.#response
    const lines = this.#ready
    this.#ready = ''
    if (response.destroyed) return
    if (!response.headersSent) {
      const length = this.#left === 0 ? { 'content-length': Buffer.byteLength(lines) } : {}
      response.writeHead(200, { 'content-type': BATCH_TYPE, ...length })
    }
    if (this.#left === 0) response.end(lines)
    else response.write(lines)
  }
}
