import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes, randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { CallContext } from '../kit/call-context.ts'
import type { Identity } from '../kit/permissions.ts'
import { type Attributes, isRecorded, type Span, type SpanKind, tracing } from './tracing/tracer.ts'

/** The most that another process of the system may ask for, in milliseconds: 60 s. */
const LONGEST_TIMEOUT = 60_000

/** How long a request, a call or an event may take when nobody says otherwise: 10 s. */
export const DEFAULT_TIMEOUT = 10_000

/** Node's timers cannot wait longer, in milliseconds: 24 days. */
const LONGEST_TIMER = 2 ** 31 - 1

const current = new AsyncLocalStorage<RequestContext>()

/** Anybody who waits for something that must end by the deadline. Waiters of one context are linked with each other. */
export interface Waiter {
  expire(): void
  /** For the context alone. */
  previous?: Waiter | undefined
  /** For the context alone. */
  next?: Waiter | undefined
}

/** Who is behind a call that has come in: the module and the user, both vouched for by tokens. */
export interface Caller {
  readonly caller: string
  readonly identity: Identity | null
}

/**
 * The context of one request, remote call or event in this process. It owns the only timer of the request's deadline,
 * started when somebody first waits on it and shared by all who do.
 *
 * Its fields are `private` and not `#`, as are those of a pending call: that took a tenth of a local call.
 */
export class RequestContext implements CallContext, Waiter {
  identity: Identity | null = null
  /** The module whose call this context was made for, if it was made for one. */
  caller: string | undefined
  /** Of that one call. */
  idempotencyKey: string | undefined
  /** What was called with that key. */
  keyed: { procedure: string; input: unknown } | undefined
  /** What is done in this context belongs to it, if the trace is recorded here. */
  span: Span | undefined
  readonly requestId: string
  readonly deadline: number
  private readonly givenTraceparent: string | undefined
  private ownTraceparent: string | undefined
  private controller: AbortController | undefined
  private first: Waiter | undefined
  private timer: NodeJS.Timeout | undefined
  private hasEnded = false
  previous: Waiter | undefined
  next: Waiter | undefined

  constructor(from: { requestId?: string | undefined; traceparent?: string | undefined; timeout?: number } = {}) {
    this.requestId = from.requestId ?? randomUUID()
    this.givenTraceparent = from.traceparent
    this.deadline = performance.now() + (from.timeout ?? DEFAULT_TIMEOUT)
  }

  /** As it came, if that was well formed; else made when it is first needed. */
  get traceparent(): string {
    this.ownTraceparent ??= traceparentOf(this.givenTraceparent)
    return this.ownTraceparent
  }

  /** The part of it that all spans of one trace share. */
  get traceId(): string {
    return this.traceparent.slice(3, 35)
  }

  /**
   * The context of a request that has come in.
   *
   * @param timeout what another process of the system says that it waits, in milliseconds: at most 60 s are believed
   */
  static of(request: { id: string; headers: IncomingHttpHeaders }, timeout?: string | string[]): RequestContext {
    const milliseconds = Number(timeout)
    return new RequestContext({
      requestId: request.id,
      traceparent: request.headers.traceparent as string | undefined,
      ...(milliseconds > 0 && { timeout: Math.min(milliseconds, LONGEST_TIMEOUT) }),
    })
  }

  /** The context of a call that has come in. The caller's time is believed up to 60 s. */
  static received(
    call: { requestId: string; traceparent: string; timeout: number; idempotencyKey: string | null },
    from: Caller,
  ): RequestContext {
    const { requestId, traceparent, timeout } = call
    const context = new RequestContext({
      requestId: requestIdOf(requestId),
      traceparent,
      timeout: Math.min(timeout, LONGEST_TIMEOUT),
    })
    context.caller = from.caller
    context.identity = from.identity
    context.idempotencyKey = call.idempotencyKey ?? undefined
    return context
  }

  /** The context of the code that is running, if any. */
  static current(): RequestContext | undefined {
    return current.getStore()
  }

  /** Runs a function, and all that follows from it, in no context: work that belongs to nobody's request. */
  static outside<T>(work: () => T): T {
    return current.exit(work)
  }

  /** Runs a function, and all that follows from it, in this context. */
  run<T>(work: () => T): T {
    return current.run(this, work)
  }

  /** A context with less time for one part of the work. It ends with this one; {@link forget} it when it has ended. */
  within(timeout: number): RequestContext {
    const left = Math.min(timeout, this.deadline - performance.now())
    const part = new RequestContext({ requestId: this.requestId, traceparent: this.traceparent, timeout: left })
    part.identity = this.identity
    part.span = this.span
    this.await(part)
    return part
  }

  /**
   * Begins a span, if there are traces and this one is recorded; what is done in this context belongs to it from now on.
   * Whoever began it ends it.
   */
  begin(name: string, kind: SpanKind, attributes?: Attributes): Span | undefined {
    const { tracer } = tracing
    if (!tracer) return undefined
    const given = this.ownTraceparent ?? this.givenTraceparent
    const parent = given && TRACEPARENT.test(given) ? given : undefined
    if (parent && !isRecorded(parent)) return undefined
    const span = tracer.begin(name, kind, parent, attributes)
    if (typeof span === 'string') this.ownTraceparent = span
    else this.follow(span)
    return this.span
  }

  /** Has what is done in this context belong to a span that somebody else ends. */
  follow(span: Span): void {
    this.span = span
    this.ownTraceparent = span.traceparent
  }

  /** True when nobody waits for the answer any more. The clock is read only while there is no timer that would say so. */
  isOver(): boolean {
    return this.hasEnded || (!this.timer && performance.now() >= this.deadline)
  }

  /** What another process may take, in whole milliseconds, rounded down so that time never grows at a hop: 1 to 60,000. */
  remaining(): number {
    return Math.min(LONGEST_TIMEOUT, Math.max(1, Math.floor(this.deadline - performance.now())))
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController()
      if (this.hasEnded) this.controller.abort()
      else this.startTimer()
    }
    return this.controller.signal
  }

  /** Has `waiter.expire()` called when the deadline passes or the caller goes away, unless {@link forget} comes first. */
  await(waiter: Waiter): void {
    if (this.hasEnded) {
      waiter.expire()
      return
    }
    waiter.next = this.first
    if (this.first) this.first.previous = waiter
    this.first = waiter
    this.startTimer()
  }

  forget(waiter: Waiter): void {
    if (waiter.previous) waiter.previous.next = waiter.next
    else if (this.first === waiter) this.first = waiter.next
    if (waiter.next) waiter.next.previous = waiter.previous
    waiter.previous = waiter.next = undefined
  }

  /** As part of another context, it ends with that one. */
  expire(): void {
    this.end()
  }

  /** Ends the context: aborts what still goes on in it, and frees the timer. */
  end(): void {
    if (this.hasEnded) return
    this.hasEnded = true
    clearTimeout(this.timer)
    for (let waiter = this.first; waiter; waiter = this.first) {
      this.forget(waiter)
      waiter.expire()
    }
    this.controller?.abort()
  }

  private startTimer(): void {
    if (!this.timer && !this.hasEnded) this.wait()
  }

  /** Timers can be early, by a millisecond or by what is more than they can wait: that is not the deadline yet. */
  private wait(): void {
    const left = Math.ceil(Math.max(0, this.deadline - performance.now()))
    const look = () => (performance.now() < this.deadline ? this.wait() : this.end())
    this.timer = setTimeout(look, Math.min(left, LONGEST_TIMER))
    this.timer.unref()
  }
}

// https://www.w3.org/TR/trace-context/#traceparent-header
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** A trace context that was received, if it is well formed, else a new one. */
export function traceparentOf(header: string | undefined): string {
  if (header && TRACEPARENT.test(header)) return header
  const random = randomHex()
  return `00-${random.slice(0, 32)}-${random.slice(32)}-01`
}

/** How many random ids are drawn at once: to ask for each took a twentieth of the time of a proxied request. */
const DRAWN = 128
let drawn = ''
let used = 0

/** 48 random hexadecimal digits. */
function randomHex(): string {
  if (used === drawn.length) {
    drawn = randomBytes(24 * DRAWN).toString('hex')
    used = 0
  }
  used += 48
  return drawn.slice(used - 48, used)
}

/** A request id that was received, if it is 1–128 letters, digits and `._-`, else undefined. */
export function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\w.-]{1,128}$/.test(header) ? header : undefined
}
