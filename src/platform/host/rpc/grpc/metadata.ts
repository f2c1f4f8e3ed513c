import type { Metadata } from '@grpc/grpc-js'

/** What makes a command safe to repeat; it is ASCII (see `client.ts`). */
export const IDEMPOTENCY_METADATA = 'idempotency-key'

/** An error as JSON, in the trailing metadata: `{ module, code, message, details }`. Any gRPC client can read it there. */
export const ERROR_METADATA = 'seam-error-bin'

/** The one value of a key; whoever says two things says nothing. */
export function textOf(metadata: Metadata, key: string): string | undefined {
  const [value, ...more] = metadata.get(key)
  return typeof value === 'string' && more.length === 0 ? value : undefined
}
