import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import { notifications as contract } from '../contract.ts'
import type { Recipients } from '../recipients.ts'
import type { Streams } from '../streams.ts'

const Place = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'The id of the last event that was received; what came after it is sent first.',
})

const EventStream = Type.Unsafe<Readable | undefined>(
  Type.String({ examples: ['id: 7\ndata: {"id":"01900000-0000-7000-8000-000000000000","kind":"welcome", …}\n\n'] }),
)

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would gather the answer before it passes it on.
  'x-accel-buffering': 'no',
}

const { NoRoomForStreams, TooManyStreams } = contract.errors

/** Notifications as they come. */
export function streamRoutes(app: ModuleApp<typeof contract>, recipients: Recipients, streams: Streams): void {
  app.get(
    '/api/notifications/stream',
    {
      config: { allow: 'user', stream: true, throws: [NoRoomForStreams, TooManyStreams] },
      schema: {
        operationId: 'streamNotifications',
        summary: "The caller's notifications as they come, as server-sent events",
        description:
          'Each event has a notification as its data, in JSON, and as its id the place in the sequence of the ' +
          "caller's notifications. A stream begins after `Last-Event-ID` (or `lastEventId`), else with what comes from " +
          'now on; it ends after 15 minutes, or when the process stops, and `EventSource` comes again by itself. It also ' +
          'ends within 15 seconds after the session in which it was asked for.',
        querystring: Type.Object({ lastEventId: Type.Optional(Place) }, { additionalProperties: false }),
        headers: Type.Object({ 'last-event-id': Type.Optional(Place) }),
        response: {
          200: {
            description: 'The stream.',
            content: { 'text/event-stream': { schema: EventStream } },
          },
        },
      },
    },
    async (request, reply) => {
      const identity = userOf(request)
      const { userId } = identity
      if (request.method === 'HEAD') return reply.headers(HEADERS).send(undefined)
      const wanted = request.headers['last-event-id'] ?? request.query.lastEventId
      const now = (await recipients.get(userId))?.notified ?? 0
      if (streams.isFull) throw new NoRoomForStreams()
      if (!streams.hasRoomFor(userId)) {
        reply.header('retry-after', '60')
        throw new TooManyStreams()
      }
      return reply.headers(HEADERS).send(streams.open(identity, Math.min(wanted ?? now, now)))
    },
  )
}
