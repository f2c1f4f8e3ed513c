import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Page, PageQuery, page } from '../../../platform/kit/pages.ts'
import type { posts as contract } from '../contract.ts'
import { scopedCursors } from '../scoped-cursors.ts'
import { type TagCounts, tagOf } from '../tags.ts'

const TagCount = Type.Object({
  name: Type.String({ examples: ['fastify'] }),
  count: Type.Integer({ minimum: 1, description: 'How many published posts have it; a moment behind.' }),
})

const Filter = Type.Object(
  {
    ...PageQuery.properties,
    prefix: Type.Optional(
      Type.String({ maxLength: 50, description: 'What the tags begin with, in any letter case.', examples: ['fast'] }),
    ),
  },
  { additionalProperties: false },
)

export function tagRoutes(app: ModuleApp<typeof contract>, tags: TagCounts): void {
  app.get(
    '/api/tags',
    {
      config: { allow: 'anyone' },
      schema: {
        operationId: 'listTags',
        summary: 'The tags of published posts, by name, with how many posts have them',
        querystring: Filter,
        response: { 200: Page(TagCount) },
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const prefix = tagOf(request.query.prefix ?? '')
      const cursors = scopedCursors(app.cursors, 'tags', { prefix })
      const rows = await tags.list(prefix, cursor === undefined ? undefined : cursors.read(cursor), limit)
      return page(request, reply, { cursors, rows, limit, position: (tag) => tag.name })
    },
  )
}
