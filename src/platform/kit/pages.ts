import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Static, type TSchema, Type } from 'typebox'

export const Id = Type.String({ format: 'uuid', description: 'A UUID.' })
export const Instant = Type.String({ format: 'date-time', description: 'ISO 8601, UTC.' })

/** `{ data: … }`: the body of an answer with one resource. */
export const Resource = <T extends TSchema>(schema: T) => Type.Object({ data: schema })

/** `{ data: […], page: { next, limit } }`: the body of an answer with a collection. */
export const Page = <T extends TSchema>(schema: T) =>
  Type.Object({
    data: Type.Array(schema),
    page: Type.Object({
      next: Type.Union([Type.String(), Type.Null()], { description: 'The cursor of the next page; null on the last.' }),
      limit: Type.Integer(),
    }),
  })

/** The query of every collection: how many (1–100, default 20), and where to go on. */
export const PageQuery = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 100, default: 20, description: 'How many, at most.' }),
    cursor: Type.Optional(Type.String({ maxLength: 512, description: 'What `page.next` of the page before says.' })),
  },
  { additionalProperties: false },
)
export type PageQuery = Static<typeof PageQuery>

/** Opaque cursors, signed so that nobody can make one up. */
export interface Cursors {
  sign(position: string): string
  /** @throws {BadInput} when the cursor was not signed by this system */
  read(cursor: string): string
}

/**
 * Makes a page of rows that were fetched with `limit + 1`, and sets its `Link` header.
 * `position` says where the next page begins: after the last row of this one.
 *
 * @example return page(request, reply, { cursors: app.cursors, rows, limit, position: (post) => post.id })
 */
export function page<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  of: { cursors: Cursors; rows: readonly T[]; limit: number; position: (row: T) => string },
): { data: T[]; page: { next: string | null; limit: number } } {
  const data = of.rows.slice(0, of.limit)
  const last = data.at(-1)
  const next = of.rows.length > of.limit && last !== undefined ? of.cursors.sign(of.position(last)) : null
  if (next) {
    const [path = '', ...query] = request.url.split('?')
    const params = new URLSearchParams(query.join('?'))
    params.set('cursor', next)
    reply.header('link', `<${path}?${params}>; rel="next"`)
  }
  return { data, page: { next, limit: of.limit } }
}
