import type { Contract, ContractEvent } from '../../kit/contract.ts'
import type { Manifest } from '../../kit/module.ts'

/** What all answers of a module depend on. */
export const tagOf = (module: string): string => module

/** The tags that a contract names, as they are known beside those of other contracts; module names have no colon. */
export const tagsOf = (module: string, tags: readonly string[] = []): string[] => tags.map((tag) => `${module}:${tag}`)

/** Whether answers of a module may be kept. */
export const isCached = (contract: Contract): boolean =>
  Object.values(contract.procedures).some(({ cache }) => cache !== undefined)

/** The events that end answers which a module may have been given: it is told of them, whether or not it subscribes. */
export const outdatingEventsOf = ({ uses }: Pick<Manifest, 'uses'>): ContractEvent[] =>
  uses
    .filter((contract) => contract && isCached(contract))
    .flatMap(({ events }) => Object.values(events).filter(({ outdates }) => outdates !== undefined))
