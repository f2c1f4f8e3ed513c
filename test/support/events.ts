import { request as byHttp } from 'node:http'
import { request as byHttps } from 'node:https'
import { until } from './until.ts'

/** A reader of server-sent events that keeps what it gets, and does nothing by itself. */
export interface EventReader {
  status: number
  headers: Record<string, string | string[] | undefined>
  /** What has an `id` and `data`. */
  readonly events: { id: string; data: any }[]
  /** All that has come. */
  readonly text: string
  /** The last id that was told, with data or without. */
  readonly lastId: string
  /** Whether the stream has ended by itself, cut or not. */
  readonly ended: boolean
  /** Waits for that many events, at most 10 s. */
  wait(count: number): Promise<{ id: string; data: any }[]>
  /** Goes away. */
  leave(): void
}

/** Opens a stream and resolves with it once the headers are there. */
export async function readEvents(
  url: string,
  options: { token: string; lastId?: string; headers?: Record<string, string>; signal?: AbortSignal },
): Promise<EventReader> {
  const { token, lastId } = options
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'text/event-stream',
    ...(lastId !== undefined && { 'last-event-id': lastId }),
    ...options.headers,
  }
  const { promise, resolve, reject } = Promise.withResolvers<EventReader>()
  const open = url.startsWith('https:') ? byHttps : byHttp
  const request = open(url, { headers, agent: false }, (response) => {
    let text = ''
    let ended = false
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => (text += chunk))
    response.on('error', () => {})
    response.on('close', () => (ended = true))
    const reader: EventReader = {
      status: response.statusCode ?? 0,
      headers: response.headers,
      get events() {
        return eventsIn(text)
      },
      get text() {
        return text
      },
      get lastId() {
        return (
          text
            .match(/^id: .*$/gm)
            ?.at(-1)
            ?.slice(4) ?? ''
        )
      },
      get ended() {
        return ended
      },
      wait: (count) => until(`${count} events`, () => reader.events.length >= count && reader.events),
      leave: () => request.destroy(),
    }
    resolve(reader)
  })
  request.on('error', reject)
  request.end()
  return promise
}

function eventsIn(text: string): { id: string; data: any }[] {
  const blocks = text.split('\n\n').slice(0, -1)
  return blocks.flatMap((block) => {
    const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/) as [string, string]))
    const data = fields.get('data')
    return data === undefined ? [] : [{ id: fields.get('id') ?? '', data: JSON.parse(data) }]
  })
}
