import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { errorCodes, type FastifyRequest } from 'fastify'
import { isAmbiguous } from '../http/paths.ts'

/** Up to so many bytes (64 KiB) a body is read before it is passed on, in one piece with its head; a larger one streams. */
const SMALL = 64 * 1024

/** What is wrong with the body itself; the answer is the same as if the module were here. */
type Fault = Error & { statusCode?: number }

/**
 * The body of a request on its way to a module. What has arrived is kept, so that it can be sent once more to another
 * instance: at most `limit` bytes, so it needs no brake either.
 */
export class Upload {
  /** Nothing more comes. */
  complete = false
  /** Called when something is found to be wrong after the body has begun to stream. */
  onFault: ((fault: Fault) => void) | undefined
  #chunks: Buffer[] = []
  #size = 0
  #stream: Readable | undefined

  /** @param ready called once: when the body is here, or is known to be large, or is at fault */
  constructor(
    source: IncomingMessage,
    options: { limit: number; whole: boolean; length: number; ready: (fault: Fault | null, upload: Upload) => void },
  ) {
    const { limit, whole, length } = options
    let ready: typeof options.ready | undefined = options.ready
    const now = (fault: Fault | null) => {
      const tell = ready
      ready = undefined
      if (tell) tell(fault, this)
      else if (fault) this.onFault?.(fault)
    }
    source.on('data', (chunk: Buffer) => {
      if (this.#size > limit) return
      this.#size += chunk.length
      if (this.#size > limit) return now(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
      this.#chunks.push(chunk)
      this.#stream?.push(chunk)
      if (!whole && this.#size > SMALL) now(null)
    })
    source.on('end', () => {
      if (this.#size > limit) return
      this.complete = true
      this.#stream?.push(null)
      now(null)
    })
    source.on('error', (error: Fault) => now(Object.assign(error, { statusCode: 400 })))
    if (!whole && length > SMALL) now(null)
  }

  /** The body for one attempt: as bytes if all is here, else as a stream of what is here and what comes. */
  body(): Buffer | Readable {
    if (this.complete) return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    const stream = new Readable({ read() {} })
    // Whoever sends it hears of its errors; when nobody sends it any more, nobody needs to.
    stream.on('error', () => {})
    for (const chunk of this.#chunks) stream.push(chunk)
    this.#stream = stream
    return stream
  }
}

/** A parser for bodies that are passed on: an {@link Upload}, or Fastify's own refusal. */
export function receiveUpload(limit: number) {
  return (
    request: FastifyRequest,
    source: IncomingMessage,
    done: (error: Fault | null, body?: Upload) => void,
  ): void => {
    const length = Number(request.headers['content-length'] ?? 0)
    if (length > limit) {
      done(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
      return
    }
    // Such an address is refused when the body has been read, as it is where the module runs.
    const whole = isAmbiguous(request.url)
    new Upload(source, { limit, whole, length, ready: done })
  }
}
