/** A dot, a backslash, or either of them encoded: without one of these a path is plain. Nearly all are. */
const SUSPICIOUS = /[.\\]|%2e|%5c/i
/** A segment that begins or ends with two dots, or is a single one. */
const STEPS = /\/\.\.|\.\.\/|^\.\.|\/\.(?:\/|$)/

/**
 * Whether others would read a path in another way than the router does: with steps (`/../`, `/./`, encoded or not) or
 * backslashes in it. A proxy resolves them, so such a path would lead elsewhere, depending on where a module runs.
 *
 * @param url as it was received, with its query; its encoding is known to be right
 */
export function isAmbiguous(url: string): boolean {
  const end = url.indexOf('?')
  const path = end === -1 ? url : url.slice(0, end)
  if (!SUSPICIOUS.test(path)) return false
  const decoded = decodeURIComponent(path)
  return decoded.includes('\\') || STEPS.test(decoded)
}
