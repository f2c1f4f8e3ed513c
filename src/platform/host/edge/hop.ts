import { isAscii } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import { DeadlineExceeded, Unavailable } from '../../kit/errors.ts'
import type { Balancer } from '../balancing/balancer.ts'
import type { Instance, Outcome } from '../balancing/instance.ts'
import { COMPRESSED_FROM } from '../http/compression.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import type { Waiter } from '../request-context.ts'
import type { RetryBudget } from '../rpc/policies/retry-budget.ts'
import { BUSY, FAILED_HEADER, REPEATED_HEADER } from '../rpc/wire.ts'
import { type Span, spanBelow } from '../tracing/tracer.ts'
import { headersBack, headersOn } from './hop-headers.ts'
import type { Upload } from './upload.ts'

/** How many instances a request may reach, at most; those that could not be reached do not count. */
const MOST_ATTEMPTS = 3
/** An answer of up to so many bytes (64 KiB) is passed back in one piece, when all of it is here; a larger one streams. */
const SMALL = 64 * 1024
const PROBLEM = 'application/problem+json'

/** What all requests to one module share. */
export interface Way {
  readonly module: string
  /** Whether the module starts sessions, so that it must see their cookie. */
  readonly signsIn: boolean
  readonly tokens: SystemTokens
  readonly balancer: Balancer
  readonly dispatcher: Dispatcher
  readonly budget: Pick<RetryBudget, 'asked' | 'take'>
}

/**
 * One request on its way to a module that runs elsewhere, and the answer on its way back. It is sent to one instance; when
 * that one fails before the client has heard anything, to another one, if that can do no harm: the request only reads, or
 * carries an `Idempotency-Key`, or has certainly not been sent. Whether the route takes keys, the instance knows: it is told
 * that it may not be the first.
 */
export class Hop implements Waiter {
  previous: Waiter | undefined
  next: Waiter | undefined
  readonly way: Way
  readonly request: FastifyRequest
  private readonly reply: FastifyReply
  readonly upload: Upload | undefined
  private readonly tried: Instance[] = []
  private attempt: Attempt | undefined
  /** How many of these may have been reached. */
  private sent = 0
  /** Whether what it asks for may have been done. */
  private mayBeDone = false
  private isOver = false

  constructor(way: Way, request: FastifyRequest, reply: FastifyReply) {
    this.way = way
    this.request = request
    this.reply = reply
    this.upload = request.body as Upload | undefined
  }

  begin(): void {
    this.request.context.await(this)
    if (this.isOver) return
    const { balancer, budget, module } = this.way
    const now = performance.now()
    budget.asked(now)
    if (this.upload) this.upload.onFault = (fault) => this.refuse(fault)
    try {
      this.send(balancer.pick(module, this.tried, now), now)
    } catch (error) {
      this.refuse(error as Error)
    }
  }

  /** The deadline has passed, which the server answers, or the client has gone. */
  expire(): void {
    const { attempt, reply } = this
    const isGone = reply.raw.destroyed
    // Events go on and on; their stream ends when the client goes.
    if (!isGone && attempt?.isOfEvents) return
    this.isOver = true
    if (!isGone && !reply.raw.headersSent) this.letGo()
    // A client that sends or reads slowly says nothing about the instance.
    const isLate = !isGone && !attempt?.status && this.upload?.complete !== false
    attempt?.abandon(isLate ? 'failed' : 'given up')
  }

  /** An instance has answered, or its answer begins. */
  answer(status: number, headers: IncomingHttpHeaders, body: Buffer | Readable | undefined): void {
    if (!(body instanceof Readable)) this.finish()
    if (this.reply.raw.headersSent || this.reply.raw.destroyed) {
      if (body instanceof Readable) body.destroy()
      return
    }
    const inAscii = headersBack(headers, this.reply)
    if (status === 204) this.reply.removeHeader('content-length')
    this.letGo()
    this.reply.code(status)
    // Node writes head and body at once if both are text, which takes a twentieth to a tenth off a hop. A longer text would be
    // compressed, and one that is not in ASCII would change the encoding of the head.
    if (inAscii && body instanceof Buffer && body.length < COMPRESSED_FROM && isAscii(body))
      this.reply.serializer(String).send(body.toString('latin1'))
    else this.reply.send(body)
  }

  /** It cannot be answered, unless another instance does. */
  fail(cause: Error): void {
    if (!this.isOver && !this.again()) this.refuse(new Unavailable(this.way.module, { cause }))
  }

  /** It is answered with an error that was found here. */
  refuse(error: Error): void {
    if (this.isOver) return
    this.finish()
    this.attempt?.abandon('given up')
    this.letGo()
    this.reply.send(error)
  }

  /** Nothing more happens to it. */
  finish(): void {
    this.isOver = true
    this.request.context.forget(this)
  }

  /** Sends it to another instance, if there is one and that can do no harm. */
  again(): boolean {
    const { balancer, module, budget } = this.way
    const { context, headers, method } = this.request
    const wasSent = this.attempt?.wasSent !== false
    if (wasSent) this.sent++
    const isHarmless = !wasSent || method === 'GET' || method === 'HEAD' || 'idempotency-key' in headers
    if (this.isOver || !isHarmless || this.sent >= MOST_ATTEMPTS || context.isOver()) return false
    const instance = balancer.another(module, this.tried)
    if (!instance) return false
    // What has reached nobody is no more work for anybody.
    if (wasSent && !budget.take()) return false
    this.request.log.debug({ module, origin: instance.origin, wasSent }, 'an instance has failed; another is asked')
    this.mayBeDone ||= wasSent
    this.send(instance, performance.now())
    return true
  }

  private send(instance: Instance, now: number): void {
    this.tried.push(instance)
    const attempt = new Attempt(this, instance, now)
    this.attempt = attempt
    const { method, url } = this.request
    const headers = headersOn(this.request, this.way, attempt.span?.traceparent ?? this.request.context.traceparent)
    if (this.mayBeDone) headers.push(REPEATED_HEADER, 'true')
    this.way.dispatcher.dispatch(
      {
        origin: instance.origin,
        path: url,
        method: method as Dispatcher.HttpMethod,
        headers,
        body: this.upload?.body() ?? null,
      },
      attempt,
    )
  }

  /** Whoever is answered before all was received cannot use the connection for anything else. */
  private letGo(): void {
    if (this.upload && !this.upload.complete) this.reply.header('connection', 'close')
  }
}

/** A {@link Hop} at one instance. The instance hears of its beginning and its end once each, whatever happens. */
class Attempt implements Dispatcher.DispatchHandler {
  /** Whether any of it may have reached the instance. */
  wasSent = false
  /** Of the answer; 0 before there is one. */
  status = 0
  private readonly hop: Hop
  private readonly isUpload: boolean
  private readonly instance: Instance
  private readonly began: number
  /** How long it took until the answer began, in milliseconds; undefined where that depends on the client. */
  private took: number | undefined
  private controller: Dispatcher.DispatchController | undefined
  private headers: IncomingHttpHeaders = {}
  private outcome: Outcome = 'answered'
  private hasEnded = false
  /** Whether the instance has heard of its end. */
  private isTold = false
  /** The body of a small answer, as far as it is here. */
  private parts: Buffer[] | undefined
  /** The body of a large one; made when its first bytes come. */
  private stream: Readable | undefined
  readonly span: Span | undefined

  constructor(hop: Hop, instance: Instance, now: number) {
    this.hop = hop
    this.isUpload = hop.upload?.complete === false
    this.instance = instance
    this.began = now
    const { context } = hop.request
    if (context.span)
      this.span = spanBelow(context.traceparent, `pass on to ${hop.way.module}`, 'client', {
        'server.address': instance.origin,
      })
    instance.began(now)
  }

  get isOfEvents(): boolean {
    return String(this.headers['content-type']).startsWith('text/event-stream')
  }

  /** Nobody waits for it any more. */
  abandon(outcome: Outcome): void {
    if (this.hasEnded) return
    this.end(outcome)
    const reason = new DeadlineExceeded(this.hop.way.module)
    this.stream?.destroy(reason)
    this.controller?.abort(reason)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.hasEnded) controller.abort(new DeadlineExceeded(this.hop.way.module))
    else this.wasSent = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // 1xx: the answer proper is still to come.
    if (status < 200 || this.hasEnded) return
    if (headers.connection === 'close') this.instance.drains()
    this.status = status
    this.headers = headers
    if (!this.isUpload) this.took = performance.now() - this.began
    if (status >= 500 && !this.isPassedBack()) return
    const isBodiless = this.hop.request.method === 'HEAD' || status === 204 || status === 304
    if (isBodiless || Number(headers['content-length']) <= SMALL) this.parts = []
    // Its first event may be a long time coming; until then it looks like an answer that is late.
    else if (this.isOfEvents) this.stream = this.pass(controller)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.hasEnded) return
    if (this.parts) {
      this.parts.push(chunk)
      return
    }
    this.stream ??= this.pass(controller)
    if (!this.stream.push(chunk)) controller.pause()
  }

  /** Begins to pass an answer back as it comes. */
  private pass(controller: Dispatcher.DispatchController): Readable {
    const stream = new Readable({
      read: () => controller.resume(),
      // The client has gone, maybe long after the deadline.
      destroy: (error, done) => {
        this.abandon('given up')
        done(error)
      },
    })
    // It may last for days, and is then no more work for the instance than none.
    if (this.isOfEvents) this.tell('answered')
    this.hop.answer(this.status, this.headers, stream)
    return stream
  }

  onResponseEnd(): void {
    if (this.hasEnded) return
    this.end(this.outcome)
    if (this.stream) {
      this.hop.finish()
      this.stream.push(null)
    } else {
      this.hop.answer(this.status, this.headers, bodyOf(this.parts))
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error & { code?: string }): void {
    if (this.hasEnded) return
    // What cannot be sent at all is the client's doing.
    this.end(error.code === 'UND_ERR_INVALID_ARG' ? 'given up' : 'failed')
    if (this.stream) {
      this.hop.finish()
      this.stream.destroy(new Unavailable(this.hop.way.module, { cause: error }))
    } else {
      this.hop.fail(error)
    }
  }

  /**
   * Whether an answer of 5xx is the client's. It is not, if another instance can be asked for a better one; nor if it is no
   * problem, for modules fail in problems: other words come from something in between, and are not meant for the outside.
   */
  private isPassedBack(): boolean {
    const { module } = this.hop.way
    const failed = this.headers[FAILED_HEADER] ?? module
    // Another module has failed, or nobody; or the instance has enough to do, which says nothing about whether it is well.
    this.outcome = failed === module ? 'failed' : failed === BUSY ? 'given up' : 'answered'
    const mayBeBetter = (this.status === 502 || this.status === 503) && (failed === module || failed === BUSY)
    const isProblem = this.headers['content-type'] === PROBLEM && this.status < 600
    if (!mayBeBetter && isProblem) return true
    const isRepeated = mayBeBetter && this.hop.again()
    if (!isRepeated && isProblem) return true
    this.end(this.outcome)
    // A small answer costs less to be read than a new connection.
    if (!(Number(this.headers['content-length']) <= SMALL)) this.controller?.abort(new Error('It is of no use.'))
    if (!isRepeated) this.hop.refuse(new Unavailable(module, { cause: new Error(`It was answered ${this.status}.`) }))
    return false
  }

  private end(outcome: Outcome): void {
    this.hasEnded = true
    this.span?.end(outcome === 'answered' ? undefined : outcome)
    this.tell(outcome)
  }

  private tell(outcome: Outcome): void {
    if (this.isTold) return
    this.isTold = true
    this.instance.ended(outcome, outcome === 'answered' ? this.took : undefined, this.began)
  }
}

function bodyOf(parts: Buffer[] | undefined): Buffer | undefined {
  if (!parts || parts.length === 0) return undefined
  return parts.length === 1 ? parts[0] : Buffer.concat(parts)
}
