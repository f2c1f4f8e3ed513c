import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import helmet from 'helmet'

/**
 * Sends helmet's headers with every answer. They never change, so helmet is asked for them once: to have it set them on each
 * answer took as much time as all the rest of a read.
 */
export function sendSecurityHeaders(server: FastifyInstance): void {
  const headers: Record<string, string> = {}
  const recorder = {
    setHeader: (name: string, value: string) => (headers[name.toLowerCase()] = value),
    removeHeader() {},
  }
  helmet()({} as IncomingMessage, recorder as unknown as ServerResponse, () => {})
  server.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers)
    done()
  })
}
