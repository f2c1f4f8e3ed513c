import type { FastifyContextConfig, FastifyInstance, RouteOptions } from 'fastify'
import { SeamError } from '../../kit/errors.ts'

/** The methods that this API knows, wherever a module runs. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** The methods that a route answers. */
export const methodsOf = ({ method }: Pick<RouteOptions, 'method'>): string[] => [method].flat()

/**
 * Answers, at an address that has routes, the methods that they do not: OPTIONS with what is allowed there, the others with
 * 405 that says so, too.
 */
export function answerOtherMethods(
  server: FastifyInstance,
  url: string,
  methods: readonly string[],
  config: FastifyContextConfig,
): void {
  const allowed = [...new Set([...methods, 'OPTIONS'])].sort().join(', ')
  if (!methods.includes('OPTIONS'))
    server.options(url, { config }, (_request, reply) => reply.header('allow', allowed).code(204).send())
  server.route({
    method: METHODS.filter((method) => method !== 'OPTIONS' && !methods.includes(method)),
    url,
    config,
    handler(_request, reply) {
      reply.header('allow', allowed)
      const facts = { module: config.module ?? 'seam', code: 'MethodNotAllowed', status: 405 }
      throw new SeamError({ ...facts, message: `Only these methods are answered here: ${allowed}.` })
    },
  })
}
