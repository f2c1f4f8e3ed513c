import { isDeepStrictEqual } from 'node:util'
import { type Answer, refusalOf, wanted } from '../api/client.ts'
import type { Drift } from '../api/drift.ts'
import { parsed } from './sending.ts'

/**
 * What is wrong with an answer, whatever was asked; undefined when nothing is. It may be no failure, and every refusal is a
 * complete problem, true to itself, that shows nothing of what is inside.
 */
export function faultOf(method: string, path: string, answer: Answer): string | undefined {
  const { status, headers, body } = answer
  if (status >= 500) return `it failed with ${status}`
  if (!headers['x-request-id']) return 'it has no request id'
  if (status < 400) return undefined
  if (method === 'HEAD')
    return headers['content-type'] === 'application/problem+json' ? undefined : 'it is not problem+json'
  const seen = refusalOf(answer)
  const unread = isUnread(answer)
  const expected = wanted({
    status,
    code: String(body?.code),
    module: String(body?.module),
    path: unread ? '' : path.split('?', 1)[0]!,
  })
  if (unread && isDeepStrictEqual({ ...seen, missing: [] }, expected)) return undefined
  if (isDeepStrictEqual(seen, expected)) return undefined
  return `it is no good problem:\n${JSON.stringify(seen)}\ninstead of\n${JSON.stringify(expected)}`
}

/** Whether Node's parser has refused the request: such an answer has no path, and belongs to no operation. */
const isUnread = ({ status, body }: Answer): boolean => body?.instance === '' && [400, 408, 413, 431].includes(status)

/** Holds an answer against the API's description, and gives what is new of what does not fit. */
export function driftOf(drift: Drift, method: string, path: string, answer: Answer): string | undefined {
  if (isUnread(answer)) return undefined
  const before = new Set(drift.faults)
  drift.look(method, readable(path), answer)
  const found = [...drift.faults].filter((fault) => !before.has(fault))
  return found.length > 0 ? `it is not as the document says: ${found.join('; ')}` : undefined
}

/** A path as the router understands it. */
function readable(path: string): string {
  try {
    return decodeURIComponent(path.split('?', 1)[0]!)
  } catch {
    return path
  }
}

/** What is wrong with what came back for bytes that need not be HTTP. */
export function faultOfRaw(text: string): string | undefined {
  if (text === '') return undefined
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1])
  if (!(status >= 100 && status < 500)) return 'it failed, or is no HTTP'
  if (status < 400) return undefined
  const end = text.indexOf('\r\n\r\n')
  const head = text.slice(0, end)
  if (!/^content-type: application\/problem\+json\r?$/im.test(head)) return 'it is not problem+json'
  // Another answer may follow, for there may have been two requests in the bytes.
  const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1])
  const body = Buffer.from(text.slice(end + 4))
    .subarray(0, length)
    .toString()
  const isHead = body === '' || body.startsWith('HTTP/1.1 ')
  if (!isHead && (parsed(body) as { status?: number } | undefined)?.status !== status) return 'its body is no problem'
  return undefined
}
