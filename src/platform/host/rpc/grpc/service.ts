import type { Contract } from '../../../kit/contract.ts'
import { type MessageCodec, messageCodec } from './message.ts'
import { type Names, pascalCase, take } from './names.ts'

/** A contract as a gRPC service. */
export interface Service {
  /** `seam.users` */
  readonly package: string
  /** `UsersService` */
  readonly name: string
  readonly methods: Readonly<Record<string, Method>>
}

/** A procedure as a gRPC method. */
export interface Method {
  /** `GetUser` */
  readonly name: string
  /** `/seam.users.UsersService/GetUser` */
  readonly path: string
  readonly request: MessageCodec
  readonly response: MessageCodec
}

const services = new WeakMap<Contract, Service>()

export function serviceOf(contract: Contract): Service {
  let service = services.get(contract)
  if (!service) services.set(contract, (service = makeService(contract)))
  return service
}

function makeService(contract: Contract): Service {
  const [inPackage, name] = [`seam.${contract.name.replaceAll('-', '_')}`, `${pascalCase(contract.name)}Service`]
  const names: Names = new Set()
  const methods = Object.entries(contract.procedures).map(([procedure, { input, output }], index) => {
    const method = methodName(procedure, index + 1, names)
    const path = `/${inPackage}.${name}/${method}`
    return [procedure, { name: method, path, request: messageCodec(input), response: messageCodec(output) }] as const
  })
  return { package: inPackage, name, methods: Object.fromEntries(methods) }
}

/** The platform's own procedures begin with `$`, so that no module's can be called the same. */
function methodName(procedure: string, nth: number, names: Names): string {
  const isOwn = procedure.startsWith('$')
  return isOwn ? procedure : take(names, pascalCase(procedure), /^[A-Z][A-Za-z0-9]*$/, `Procedure${nth}`)
}
