import type { Contract } from '../../kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  Divergence,
  type Fault,
  IdempotencyKeyReused,
  IdempotencyResultLost,
  Overloaded,
  type SeamError,
  Unavailable,
  UnknownProcedure,
} from '../../kit/errors.ts'
import { NotUnderstood } from './remote-call.ts'

/** Where procedures are served. Nothing answers below it without a valid service token. */
export const RPC_PREFIX = '/_seam'

/** Headers between processes. From outside they count for nothing: each is signed, or believed only beside a signed one. */
export const SERVICE_HEADER = 'x-seam-service'
export const IDENTITY_HEADER = 'x-seam-identity'
/** Milliseconds that the caller still waits: relative, because clocks differ. */
export const TIMEOUT_HEADER = 'x-seam-timeout'
/** In a request that is sent once more: what it asks for may have been done already, by another instance. */
export const REPEATED_HEADER = 'x-seam-repeated'
/** In an answer of 5xx: the module that failed, which need not be the one that was asked; or {@link BUSY}, or {@link NOBODY}. */
export const FAILED_HEADER = 'x-seam-failed'
/** What was refused because there is enough to do. */
export const BUSY = 'seam'
/** What was not done once more. */
export const NOBODY = 'nobody'

/** The most that an input may weigh on its way, in bytes: 1 MiB. */
export const MAX_INPUT = 1024 * 1024
/** The most that a result may weigh on its way, in bytes: 8 MiB. A larger one is refused while it arrives. */
export const MAX_OUTPUT = 8 * 1024 * 1024

/** Whether a text weighs more than `most` bytes on its way. Most texts are so short that they need not be counted. */
export const isHeavier = (text: string, most: number): boolean =>
  text.length * 3 > most && Buffer.byteLength(text) > most

/** An error on its way between processes. */
export interface WireError {
  module: string
  code: string
  message: string
  details?: unknown
}

export function encodeError(error: SeamError): WireError {
  return {
    module: error.module,
    code: error.code,
    message: error.message,
    ...(error.details !== undefined && { details: error.details }),
  }
}

/** The error as it was thrown on the far side: the same class, code and details. What is not understood is {@link Unavailable}. */
export function decodeError(contract: Contract, procedure: string, error: unknown): Error {
  if (!isWireError(error)) return new Unavailable(contract.name)
  const isOwn = error.module === contract.name
  const declared = isOwn && Object.hasOwn(contract.errors, error.code)
  const Declared = declared ? contract.errors[error.code] : undefined
  if (Declared) return Reflect.construct(Declared, [error.details])
  switch (error.code) {
    case 'BadInput':
      return new BadInput(error.module, faultsIn(error.details), error.message)
    case 'DeadlineExceeded':
      return new DeadlineExceeded(error.module)
    case 'Overloaded':
      return new Overloaded(error.module)
    case 'IdempotencyKeyReused':
      return new IdempotencyKeyReused(error.module)
    case 'IdempotencyResultLost':
      return new IdempotencyResultLost(error.module)
    case 'Divergence':
      return new Divergence(contract.name, procedure, error.message.replace(`${contract.name}.${procedure}: `, ''))
    case 'CallFailed':
      return new CallFailed(contract.name, procedure)
    case 'Unavailable':
      return new Unavailable(error.module)
    case 'UnknownProcedure':
      // Which procedure a module further on does not know is no matter of this caller's.
      return isOwn ? new UnknownProcedure(error.module, procedure) : new Unavailable(error.module)
    default:
      return new Unavailable(error.module, { cause: new NotUnderstood(`${error.code}: ${error.message}`) })
  }
}

function faultsIn(details: unknown): Fault[] {
  const { errors } = (details ?? {}) as { errors?: unknown }
  return Array.isArray(errors) ? errors : []
}

const isWireError = (value: unknown): value is WireError =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as WireError).module === 'string' &&
  typeof (value as WireError).code === 'string' &&
  typeof (value as WireError).message === 'string'
