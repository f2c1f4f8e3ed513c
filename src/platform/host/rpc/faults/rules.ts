import type { Contract } from '../../../kit/contract.ts'

/** What can be done to a call. */
export type FaultKind = 'delay' | 'drop' | 'drop-answer' | 'error' | 'duplicate' | 'partial'

/** One part of `FAULTS`: what happens to which calls, how often. */
export interface FaultRule {
  /** `*`, a module, or a procedure as `module.procedure`. */
  readonly target: string
  readonly kind: FaultKind
  /** Of a delay, in milliseconds; else 0. */
  readonly delay: number
  /** From 0 to 1. */
  readonly probability: number
}

const RULE =
  '(\\*|[a-z][a-z0-9-]*(\\.\\w+)?):(delay=\\d{1,5}|drop|drop-answer|error|duplicate|partial)(@(0(\\.\\d+)?|1))?'

/** The form of `FAULTS`. */
export const FAULTS = `^${RULE}( *, *${RULE})*$`

/**
 * Reads `FAULTS`, which has its form.
 *
 * @example readRules('users.getUser:delay=200@0.1, posts:error')
 */
export function readRules(text: string): FaultRule[] {
  return text.split(',').map((rule) => {
    const [target, deed] = rule.trim().split(':') as [string, string]
    const [what, probability = '1'] = deed.split('@') as [string, string?]
    const [kind, delay = '0'] = what.split('=') as [FaultKind, string?]
    return { target, kind, delay: Number(delay), probability: Number(probability) }
  })
}

/** The targets of rules that no call can have. */
export function unknownTargets(rules: readonly FaultRule[], contracts: readonly Contract[]): string[] {
  const known = contracts.flatMap(({ name, procedures }) => [
    name,
    ...Object.keys(procedures).map((key) => `${name}.${key}`),
  ])
  return rules.map(({ target }) => target).filter((target) => target !== '*' && !known.includes(target))
}
