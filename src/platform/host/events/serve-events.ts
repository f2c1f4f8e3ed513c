import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from '../http/status-texts.ts'
import type { StuckEventsOf } from './events-task.ts'

/** Events that one list shows of each module. */
const LISTED = 100
const ID = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
const ONE = { params: { type: 'object', properties: { id: { type: 'string', pattern: ID } }, required: ['id'] } }

type One = { Params: { id: string }; Querystring: { module?: string } }

/**
 * What `npm run seam -- events` does, for programs, on the listener for operators: `GET /events` lists what is dead or
 * parked in the modules that run here, `GET /events/:id` shows all of one, `POST /events/:id/redrive` and `POST /events/redrive` have one
 * or all tried again, `DELETE /events/:id` gives one up. `?module=` looks at one module only. A browser's page is
 * refused. Faults are problems (RFC 9457). Where no module runs there is none of it.
 */
export function serveEvents(server: FastifyInstance, modules: readonly StuckEventsOf[]): void {
  if (modules.length === 0) return
  server.register(async (scope) => {
    scope.addHook('onRequest', refusePagesOfOthers)
    scope.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
      const status = error.statusCode ?? 500
      return problem(
        request,
        reply,
        status,
        status < 500 ? error.message : 'The database cannot be used at the moment.',
      )
    })
    const query = { querystring: { type: 'object', properties: { module: { enum: modules.map(({ name }) => name) } } } }
    const chosen = ({ module }: One['Querystring']) =>
      modules.filter(({ name }) => module === undefined || name === module)
    const none = (request: FastifyRequest<One>, reply: FastifyReply) =>
      problem(request, reply, 404, `No event ${request.params.id} is dead or parked here (MODULES).`)
    const stuck = async (module: StuckEventsOf, options: { limit: number; id?: string }) =>
      (await module.stuckEvents(options)).map((event) => ({ module: module.name, ...event }))

    scope.get<One>('/events', { schema: query }, async (request) => ({
      data: (await Promise.all(chosen(request.query).map((module) => stuck(module, { limit: LISTED })))).flat(),
    }))
    scope.get<One>('/events/:id', { schema: { ...query, ...ONE } }, async (request, reply) => {
      const { id } = request.params
      const found = await Promise.all(chosen(request.query).map((module) => stuck(module, { limit: 1, id })))
      return found.flat().length > 0 ? { data: found.flat() } : none(request, reply)
    })
    scope.post<One>('/events/redrive', { schema: query }, async (request) => {
      let redriven = 0
      for (const module of chosen(request.query)) redriven += await module.redrive()
      return { redriven }
    })
    scope.post<One>('/events/:id/redrive', { schema: { ...query, ...ONE } }, async (request, reply) => {
      let redriven = 0
      for (const module of chosen(request.query)) redriven += await module.redrive(request.params.id)
      return redriven > 0 ? { redriven } : none(request, reply)
    })
    scope.delete<One>('/events/:id', { schema: { ...query, ...ONE } }, async (request, reply) => {
      let discarded = 0
      for (const module of chosen(request.query)) discarded += Number(await module.discard(request.params.id))
      return discarded > 0 ? { discarded } : none(request, reply)
    })
  })
}

/** The port is for operators only, but a browser on an operator's machine reaches it for any page that it shows. */
async function refusePagesOfOthers(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const site = request.headers['sec-fetch-site']
  // There are no pages here, so what is of the same origin is of a site whose name has been made to lead here.
  const isTypedOrNone = site === 'none' || (site === undefined && request.headers.origin === undefined)
  if (!isTypedOrNone) return problem(request, reply, 403, 'Pages may not use this.')
}

function problem(request: FastifyRequest, reply: FastifyReply, status: number, detail: string): FastifyReply {
  const instance = request.url.split('?', 1)[0]
  const body = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, instance }
  return reply.code(status).type('application/problem+json').serializer(JSON.stringify).send(body)
}
