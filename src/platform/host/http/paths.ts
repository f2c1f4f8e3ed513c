/** A dot, a backslash, either of them encoded, or what no path has: without one of these a path is plain. Nearly all are. */
const SUSPICIOUS = /[.\\"<>^`{}]|%2e|%5c/i
/** What must be encoded in a path, and proxies encode. Of what is not ASCII Node's parser makes a 400. */
const UNENCODED = /["<>^`{}]/
/** A segment that begins or ends with two dots, or is a single one. */
const STEPS = /\/\.\.|\.\.\/|^\.\.|\/\.(?:\/|$)/

/**
 * Whether others would read a path in another way than the router does: with steps (`/../`, `/./`, encoded or not) or
 * backslashes in it, with letters that should be encoded, or with a fragment behind it. A proxy resolves, encodes or drops
 * them, so such an address would get another answer, depending on where a module runs.
 *
 * @param url as it was received, with its query; its encoding is known to be right
 */
export function isAmbiguous(url: string): boolean {
  if (url.includes('#')) return true
  const end = url.indexOf('?')
  const path = end === -1 ? url : url.slice(0, end)
  if (!SUSPICIOUS.test(path)) return false
  if (UNENCODED.test(path)) return true
  const decoded = decodeURIComponent(path)
  return decoded.includes('\\') || STEPS.test(decoded)
}

/**
 * The target of a request without the scheme and host that a client may put before it (RFC 9112, 3.2.2), and that neither
 * plugins nor modules reckon with.
 */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target
  const rest = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return rest === target || rest.startsWith('/') ? rest : `/${rest}`
}
