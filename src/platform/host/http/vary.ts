import type { FastifyReply } from 'fastify'

/** Tells caches that the answer depends on a request header. */
export function addVary(reply: FastifyReply, header: string): void {
  const listed = reply.getHeader('vary')
  if (listed === undefined) return void reply.header('vary', header)
  const known = String(listed).toLowerCase().split(/,\s*/)
  if (!known.includes(header.toLowerCase())) reply.header('vary', `${listed}, ${header}`)
}
