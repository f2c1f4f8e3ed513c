import type { FastifyReply } from 'fastify'

/** Tells caches that the answer depends on a request header. */
export function addVary(reply: FastifyReply, header: string): void {
  const listed = String(reply.getHeader('vary') ?? '')
  const known = listed.toLowerCase().split(/,\s*/)
  if (!known.includes(header.toLowerCase())) reply.header('vary', listed ? `${listed}, ${header}` : header)
}
