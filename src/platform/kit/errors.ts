/** What an error tells besides its words. */
export interface ErrorFacts<D = unknown> {
  /** The module that answers for it; `seam` where no module does. */
  module: string
  /** Stable, for machines: the error's name in its contract or in the platform's catalogue. */
  code: string
  /** The HTTP status that a consumer of the REST API sees. */
  status: number
  /** For people. It must not show internals. */
  message: string
  /** Plain JSON, as the contract's schema says. */
  details?: D
}

/**
 * The one error type of Seam. Its `code` is stable, its `message` is for people, its `module` says who answers for it.
 * It looks the same wherever it was thrown: in this process or on the far side of a call.
 *
 * @example
 * try { await users.getUser({ id }) } catch (error) {
 *   if (error instanceof SeamError) log.warn(`${error.module}: ${error.code}`)
 * }
 */
export class SeamError<D = unknown> extends Error {
  readonly module: string
  readonly code: string
  readonly status: number
  readonly details: D | undefined

  constructor(facts: ErrorFacts<D>, options?: ErrorOptions) {
    super(facts.message, options)
    this.name = facts.code
    this.module = facts.module
    this.code = facts.code
    this.status = facts.status
    this.details = facts.details
  }
}

/** One thing that is wrong with an input; `path` is a JSON pointer into it, `''` the whole. */
export interface Fault {
  path: string
  message: string
}

/** 400: the input does not have the declared shape. All faults at once. */
export class BadInput extends SeamError<{ errors: readonly Fault[] }> {
  constructor(module: string, errors: readonly Fault[], message = 'The input is not valid.') {
    super({ module, code: 'BadInput', status: 400, message, details: { errors } })
  }
}

/** 401: who is asking is not known, or what they showed is not valid (any more). */
export class Unauthenticated extends SeamError {
  constructor(message = 'Sign in, or send a valid bearer token.') {
    super({ module: 'seam', code: 'Unauthenticated', status: 401, message })
  }
}

/** 403: the caller is known and may not do this. */
export class Forbidden extends SeamError {
  constructor(message = 'You may not do this.') {
    super({ module: 'seam', code: 'Forbidden', status: 403, message })
  }
}

/** 404 for a path that nothing answers. What a module does not find is an error of its contract. */
export class NotFound extends SeamError {
  constructor(message = 'There is nothing at this address.') {
    super({ module: 'seam', code: 'NotFound', status: 404, message })
  }
}

/** 412: somebody has changed the resource since the caller saw it. */
export class PreconditionFailed extends SeamError {
  constructor(
    message = 'It has been changed since you saw it. Get it again, and look whether your change still fits.',
  ) {
    super({ module: 'seam', code: 'PreconditionFailed', status: 412, message })
  }
}

/** 422: the idempotency key, of a request or of a call, was used for something else. */
export class IdempotencyKeyReused extends SeamError {
  constructor(module = 'seam') {
    super({
      module,
      code: 'IdempotencyKeyReused',
      status: 422,
      message: 'This Idempotency-Key was used for another request. Make a new key for each thing that you want done.',
    })
  }
}

/** 422: this was done, and what came out of it cannot be read any more, because `SECRET` has changed since. */
export class IdempotencyResultLost extends SeamError {
  constructor(module = 'seam', options?: ErrorOptions) {
    super(
      {
        module,
        code: 'IdempotencyResultLost',
        status: 422,
        message:
          'Something was done for this Idempotency-Key, and the answer cannot be given again. Look whether it is there before you ask with a new key.',
      },
      options,
    )
  }
}

/** 429: the caller has asked too often. */
export class TooManyRequests extends SeamError {
  /** @param seconds until it may be tried again */
  constructor(seconds: number) {
    super({
      module: 'seam',
      code: 'TooManyRequests',
      status: 429,
      message: `That was too often. Try again in ${seconds} s.`,
    })
  }
}

/** 503: the module cannot be reached at the moment, or answered with nonsense. Trying again later may help. */
export class Unavailable extends SeamError {
  /** Seconds before which it should not be tried again, if it said so. */
  readonly retryAfter: number | undefined

  constructor(module: string, options?: ErrorOptions & { retryAfter?: number | undefined }) {
    super({ module, code: 'Unavailable', status: 503, message: `The module "${module}" cannot be reached.` }, options)
    this.retryAfter = options?.retryAfter
  }
}

/** 503: the module has as much to do as it takes on at a time. Nothing was done; it may be tried again after a second. */
export class Overloaded extends Unavailable {
  override readonly name = 'Overloaded'
  override readonly code = 'Overloaded'
  override readonly message: string

  constructor(module: string, options?: ErrorOptions) {
    super(module, { ...options, retryAfter: 1 })
    this.message = `The module "${module}" has too much to do at the moment.`
  }
}

/**
 * 503: the instances of the module that were asked do not know the procedure, as while the release that adds it is rolled out.
 * Nothing was done.
 */
export class UnknownProcedure extends Unavailable {
  override readonly name = 'UnknownProcedure'
  override readonly code = 'UnknownProcedure'
  override readonly message: string

  constructor(module: string, procedure: string, options?: ErrorOptions) {
    super(module, options)
    this.message = `The module "${module}" does not offer "${procedure}" at the moment.`
  }
}

/** 503: the module did not answer before the deadline that belongs to the request. */
export class DeadlineExceeded extends SeamError {
  constructor(module: string, options?: ErrorOptions) {
    super(
      { module, code: 'DeadlineExceeded', status: 503, message: `The module "${module}" did not answer in time.` },
      options,
    )
  }
}

/** 500: the module failed in a way that its contract does not name. What happened is in the module's log, not here. */
export class CallFailed extends SeamError {
  constructor(module: string, procedure: string, options?: ErrorOptions) {
    super({ module, code: 'CallFailed', status: 500, message: `${module}.${procedure} failed.` }, options)
  }
}

/**
 * 500, in development and tests only: a value that the local adapter would pass and a remote one would change (lost or
 * extra fields, Dates, arguments that change under way). The message names the procedure and the place.
 */
export class Divergence extends SeamError {
  constructor(module: string, procedure: string, what: string) {
    super({ module, code: 'Divergence', status: 500, message: `${module}.${procedure}: ${what}` })
  }
}
