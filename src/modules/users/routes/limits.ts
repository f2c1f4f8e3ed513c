import type { FastifyRequest } from 'fastify'

/** The account that a request is about, by the address in its body, which need not be valid yet. */
export function accountOf({ body }: FastifyRequest): string | undefined {
  const email = (body as { email?: unknown } | null | undefined)?.email
  return typeof email === 'string' ? email.toLowerCase() : undefined
}
