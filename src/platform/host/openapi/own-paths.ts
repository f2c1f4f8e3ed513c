import { Type } from 'typebox'

/** The schema of every error answer (RFC 9457), as `http/problems.ts` sends it. */
export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    instance: Type.String(),
    code: Type.String({ description: 'Stable; for machines.' }),
    module: Type.String({ description: 'Who answers for it.' }),
    requestId: Type.String(),
    errors: Type.Optional(
      Type.Array(Type.Object({ path: Type.String(), message: Type.String() }), {
        description: 'Everything that is wrong with the input.',
      }),
    ),
    details: Type.Optional(Type.Object({})),
  },
  { description: 'An error, as RFC 9457 says.' },
)

const Health = Type.Object({
  status: Type.Enum(['healthy', 'degraded']),
  services: Type.Record(
    Type.String(),
    Type.Object({
      status: Type.Enum(['healthy', 'unavailable']),
      responseTime: Type.Number({ description: 'Milliseconds.' }),
      code: Type.Optional(Type.String({ description: 'Why it is not healthy.' })),
    }),
  ),
})

const answer = (description: string) => ({ description, content: { 'application/json': { schema: Health } } })

/** What the platform itself answers under `/api`. */
export const OWN_PATHS = {
  '/api/health': {
    get: {
      operationId: 'getHealth',
      summary: 'How every module is, wherever it runs',
      tags: ['health'],
      security: [{}],
      responses: {
        200: answer('Every module is well.'),
        429: {
          description: 'The caller has asked too often.',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
        503: answer('Some module is not.'),
      },
    },
  },
}
