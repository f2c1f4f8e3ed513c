/** The words of a text as they are searched for: without case and accents; all but letters and digits separates them. */
function wordsOf(text: string): string[] {
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  return plain.match(/[\p{L}\p{N}]+/gu) ?? []
}

/**
 * What a user is found by, as a `tsvector`. It is made here and not by PostgreSQL, whose idea of letters and case depends
 * on how the database was set up.
 */
export function searchable(user: { firstName: string; lastName: string; email: string }): string {
  return wordsOf(`${user.firstName} ${user.lastName} ${user.email}`)
    .map((word) => `'${word}'`)
    .join(' ')
}

/**
 * A `tsquery` for those who have, for each word of a text, a word that begins with it.
 *
 * @example beginsWith('lov ada') // "'lov':* & 'ada':*"
 */
export function beginsWith(text: string): string {
  return wordsOf(text)
    .map((word) => `'${word}':*`)
    .join(' & ')
}
