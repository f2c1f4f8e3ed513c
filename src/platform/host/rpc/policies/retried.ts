import { setTimeout as sleep } from 'node:timers/promises'
import { Overloaded, Unavailable, UnknownProcedure } from '../../../kit/errors.ts'
import { NobodyToAsk } from '../../balancing/balancer.ts'
import { NotUnderstood, type Policy, type RemoteCall } from '../remote-call.ts'
import type { RetryBudgets } from './retry-budget.ts'

/** How often a call is sent, at most, the first time included. */
const ATTEMPTS = 3
/** The longest pause before the first repetition, in milliseconds; it doubles. */
const PAUSE = 25

/**
 * Sends a call again, to another instance if there is one, when the module could not be reached or answered with nonsense:
 * queries, and commands with an idempotency key. Only faults of the module that was called: what a module further on has
 * failed at was repeated there already. Pauses have full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) and end before the deadline; all repetitions
 * together stay within the {@link RetryBudget}.
 */
export function retried(budgets: RetryBudgets): Policy {
  return (next) => {
    const again = async (call: RemoteCall, fault: Unavailable): Promise<unknown> => {
      let error = fault
      for (let sent = 1; sent < ATTEMPTS; sent++) {
        const pause = Math.max(Math.random() * PAUSE * 2 ** (sent - 1), (error.retryAfter ?? 0) * 1000)
        if (performance.now() + pause >= call.context.deadline || !budgets.of(call.contract.name).take()) throw error
        await sleep(pause, undefined, { ref: false, signal: call.context.signal }).catch(() => {
          throw error
        })
        try {
          return await next(call)
        } catch (cause) {
          if (!isWorthIt(call, cause)) throw cause
          error = cause
        }
      }
      throw error
    }
    return (call) => {
      if (call.procedure.kind !== 'query' && call.idempotencyKey === undefined) return next(call)
      budgets.of(call.contract.name).asked()
      return next(call).catch((error: unknown) => {
        if (!isWorthIt(call, error)) throw error
        return again(call, error)
      })
    }
  }
}

function isWorthIt(call: RemoteCall, error: unknown): error is Unavailable {
  const isFinal =
    error instanceof NobodyToAsk ||
    // It would come again before there is less to do, and keep its place in the meantime.
    error instanceof Overloaded ||
    // Others were asked already.
    error instanceof UnknownProcedure ||
    (error as Error).cause instanceof NotUnderstood
  return error instanceof Unavailable && !isFinal && error.module === call.contract.name
}
