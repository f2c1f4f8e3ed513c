/** What stands for anything, and for what follows in an object or a list. */
const ANY = '…'

/** JSON in which `…` may stand for a value, for a part of a text, or at the end of an object or a list for the rest of it. */
export function readJson(text: string): unknown {
  const outsideOfTexts = /("(?:[^"\\]|\\.)*")|([{,[:]\s*)…(?=\s*([}\],]))/g
  return JSON.parse(
    text.replace(outsideOfTexts, (all, quoted, before, after) => {
      if (quoted) return all
      return `${before}"${ANY}"${after === '}' && !before.startsWith(':') ? `: "${ANY}"` : ''}`
    }),
  )
}

/** What a JSON value has that `shown` has not, and the other way round: nothing if it is as it was shown. */
export function differences(shown: unknown, found: unknown, path = ''): string[] {
  if (shown === ANY) return found === undefined ? [`${path} is missing`] : []
  if (typeof shown === 'string' && typeof found === 'string')
    return isLike(shown, found) ? [] : [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(shown)}`]
  if (isObject(shown) && isObject(found) && Array.isArray(shown) === Array.isArray(found)) {
    const { [ANY]: rest, ...named } = Array.isArray(shown) ? listed(shown) : shown
    const more = rest === undefined ? Object.keys(found).filter((name) => !(name in named)) : []
    return [
      ...Object.entries(named).flatMap(([name, value]) => differences(value, found[name], `${path}/${name}`)),
      ...more.map((name) => `${path}/${name} is not shown`),
    ]
  }
  return Object.is(shown, found) || JSON.stringify(shown) === JSON.stringify(found)
    ? []
    : [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(shown)}`]
}

/** Whether a text is as shown, where `…` stands for any text. */
export const isLike = (shown: string, found: string): boolean =>
  new RegExp(`^${shown.split(ANY).map(RegExp.escape).join('[\\s\\S]*')}$`).test(found)

/** A list by its indexes: `[1, …]` is like an object whose rest is not shown. */
const listed = (list: unknown[]): Record<string, unknown> =>
  Object.fromEntries(list.map((value, index) => [value === ANY && index === list.length - 1 ? ANY : index, value]))

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
