import { Type } from 'typebox'
import { Instance } from '../../../../../src/platform/host/balancing/instance.ts'
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import type { Dispatch, RemoteCall } from '../../../../../src/platform/host/rpc/remote-call.ts'
import { command, defineContract, query } from '../../../../../src/platform/kit/contract.ts'

const shape = { input: Type.Object({}), output: Type.Object({}) }

export const mill = defineContract('mill', {
  procedures: { read: query(shape), hasty: query({ ...shape, hedge: 30 }), grind: command(shape) },
})

/** A call as policies see it. */
export function callOf(
  name: keyof typeof mill.procedures,
  own: { timeout?: number; idempotencyKey?: string; context?: RequestContext } = {},
): RemoteCall {
  return {
    caller: 'caller',
    contract: mill,
    name,
    procedure: mill.procedures[name],
    body: '{}',
    context: own.context ?? new RequestContext({ timeout: own.timeout ?? 5_000 }),
    idempotencyKey: own.idempotencyKey,
    asked: [],
  }
}

/** A far side that does one thing after the other: throws an error, or returns anything else. */
export function farSide(...deeds: unknown[]) {
  const calls: { at: number; call: RemoteCall }[] = []
  const dispatch: Dispatch = async (call) => {
    calls.push({ at: performance.now(), call })
    const deed = deeds.length > 1 ? deeds.shift() : deeds[0]
    const done = typeof deed === 'function' ? await deed(call) : deed
    if (done instanceof Error) throw done
    return done
  }
  return { dispatch, calls }
}

export const instance = (origin: string, own: { weight?: number; priority?: number } = {}) =>
  new Instance({ origin, weight: 1, priority: 0, ...own })
