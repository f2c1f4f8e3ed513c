import { bigint, integer, pgSchema, text, timestamp, uuid } from 'drizzle-orm/pg-core'

export const effects = pgSchema('alpha').table('effects', {
  eventId: uuid('event_id'),
  key: text('key'),
  sequence: bigint('sequence', { mode: 'number' }),
  n: integer('n'),
  at: timestamp('at'),
})
