import { hash } from 'node:crypto'
import type { Registry } from 'prom-client'
import type { Contract } from '../../kit/contract.ts'
import { CallFailed, DeadlineExceeded, SeamError, Unavailable } from '../../kit/errors.ts'
import { codecOf, deepFreeze } from '../codec.ts'
import { DEFAULT_TIMEOUT, RequestContext } from '../request-context.ts'
import type { Target } from '../rpc/target.ts'
import { spanBelow } from '../tracing/tracer.ts'
import { CacheStatistics } from './cache-stats.ts'
import type { CacheStore, Look } from './store.ts'
import { tagOf, tagsOf } from './tags.ts'

/** What weighs more than this as JSON is not kept, in bytes: 1 MiB. */
const HEAVIEST = 1024 * 1024
/** An answer that stands in comes when this share of the caller's time is over, so that there is time left to use it. */
const PATIENCE = 0.9

/** An answer, as it is kept and as callers get it: frozen, because they share it. */
interface Answer {
  readonly text: string
  readonly value: unknown
}

/**
 * Answers calls of queries whose contract has a `cache`, on the caller's side, so that it is the same wherever the module
 * runs. Calls with the same input that are under way at the same time are one call.
 */
export class Cached {
  readonly #store: CacheStore
  readonly #statistics: CacheStatistics
  readonly #underWay = new Map<string, Promise<Answer>>()

  constructor(store: CacheStore, registry: Registry) {
    this.#store = store
    this.#statistics = new CacheStatistics(registry)
  }

  /** The target itself, where the contract declares no cache. */
  target(caller: string, contract: Contract, name: string, target: Target): Target {
    const module = contract.name
    const { cache, input: inputs, timeout } = contract.procedures[name]!
    if (!cache) return target
    const codec = codecOf(inputs)
    const stale = (cache.staleIfError ?? 0) * 1_000
    const life = cache.ttl * 1_000 + stale
    const query = new Query(contract, name, target)
    const count = this.#statistics.of(caller, module, name)

    return {
      failure: (error) => (error instanceof SeamError ? error : target.failure(error)),
      invoke: async (input, context) => {
        const text = codec.encode(input)
        const key = `${module}.${name}:${hash('sha256', text, 'base64url')}`
        const span = context.span && spanBelow(context.traceparent, `look for ${module}.${name}`, 'internal')
        const look = await this.#store.look(key, [tagOf(module), ...tagsOf(module, cache.tags?.(input))])
        span?.note({ 'seam.cache': look ? (look.kept ? 'kept' : 'none') : 'off' })
        span?.end()
        if (context.isOver()) throw new DeadlineExceeded(module)
        if (!look) {
          count('off')
          // Together with those only that ask in the same turn: nobody is answered by a call that was made before.
          const id = `${key} off`
          let answer = this.#underWay.get(id)
          if (!answer) {
            this.#underWay.set(id, (answer = query.answer(text, shared(context, timeout))))
            setImmediate(() => this.#underWay.delete(id))
          }
          return (await answer).value
        }
        const known = look.kept && query.read(look.kept.text)
        if (known && look.kept.left > stale) {
          count('hit')
          return known.value
        }
        // Whoever has seen other versions is not answered by a call that was made before.
        const id = `${key} ${look.versions}`
        const other = this.#underWay.get(id)
        const answer = other ?? this.#begin(id, query.answer(text, shared(context, timeout)), { key, look, life })
        if (!known) {
          count(other ? 'joined' : 'miss')
          return (await answer).value
        }
        try {
          const { value } = await before(context, module, answer)
          count(other ? 'joined' : 'miss')
          return value
        } catch (error) {
          if (!isAway(error)) throw error
          count('stale')
          return known.value
        }
      },
    }
  }

  #begin(id: string, answer: Promise<Answer>, at: { key: string; look: Look; life: number }): Promise<Answer> {
    this.#underWay.set(id, answer)
    const keep = async ({ text }: Answer) => {
      if (Buffer.byteLength(text) <= HEAVIEST) await this.#store.keep(at.key, text, at.look, at.life)
    }
    answer
      .then(keep, () => {})
      // Not before it is kept: who comes in between joins it.
      .finally(() => this.#underWay.delete(id))
    return answer
  }
}

/** For a call on which several wait: it belongs to none of them, and goes on when those leave who came first. */
function shared({ requestId, traceparent, span }: RequestContext, timeout = DEFAULT_TIMEOUT): RequestContext {
  const context = new RequestContext({ requestId, traceparent, timeout })
  if (span) context.follow(span)
  return context
}

/** One procedure, as it is asked where nothing is kept. */
class Query {
  readonly #contract: Contract
  readonly #name: string
  readonly #target: Target

  constructor(contract: Contract, name: string, target: Target) {
    this.#contract = contract
    this.#name = name
    this.#target = target
  }

  /**
   * Asks in a context, which ends with it. The input comes as text, so that no caller can change it under way: what is kept
   * for an input answers that input.
   *
   * @throws what a caller gets to see
   */
  async answer(input: string, context: RequestContext): Promise<Answer> {
    const { name: module, procedures } = this.#contract
    const { output } = procedures[this.#name]!
    try {
      const late = Promise.withResolvers<never>()
      context.await({ expire: () => late.reject(new DeadlineExceeded(module)) })
      const asked = context.run(async () => this.#target.invoke(JSON.parse(input), context))
      const value = await Promise.race([asked, late.promise])
      const answer = codecOf(output).check(value) && this.read(codecOf(output).encode(value))
      if (answer) return answer
      throw new CallFailed(module, this.#name, { cause: new Error('The answer is not what the contract says.') })
    } catch (error) {
      throw this.#target.failure(error)
    } finally {
      context.end()
    }
  }

  /** Undefined: it is no such answer (any more), because the contract has changed. */
  read(text: string): Answer | undefined {
    const value = deepFreeze(JSON.parse(text))
    return codecOf(this.#contract.procedures[this.#name]!.output).check(value) ? { text, value } : undefined
  }
}

/** Waits for most of the time that the caller has. */
async function before(context: RequestContext, module: string, answer: Promise<Answer>): Promise<Answer> {
  const most = context.within(PATIENCE * (context.deadline - performance.now()))
  const late = Promise.withResolvers<never>()
  most.await({ expire: () => late.reject(new DeadlineExceeded(module)) })
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    context.forget(most)
    most.end()
  }
}

const isAway = (error: unknown): boolean =>
  error instanceof Unavailable || error instanceof DeadlineExceeded || error instanceof CallFailed
