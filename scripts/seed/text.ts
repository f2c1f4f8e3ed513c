/** Numbers from 0 to 1, the same for the same seed. (mulberry32) */
export type Random = () => number

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/)

const FIRST_NAMES = words(`
  Ada Alan Amina Anders Beatriz Boris Chidi Chloé Dmitri Edsger Elif Emmy Fatima Grace Hana Hedy Imre Ingrid Jakub Joan
  Kenji Katherine Lars Leïla Margaret Mateus Mei Nadia Niklaus Olga Priya Quentin Rosa Sana Søren Tomás Ursula Victor
  Wen Ximena Yuki Zoë`)
const LAST_NAMES = words(`
  Abara Babbage Byron Castro Dijkstra Eriksson Fischer García Hamilton Hopper Ivanova Jensen Kowalski Lamarr Lovelace
  Martin Meyer Müller Nakamura Noether Okafor Perlman Quispe Rossi Sato Silva Tanaka Turing Ueda Varga Weber Wirth Xu
  Yılmaz Zhang Żak`)

const ADJECTIVES = words(`
  quiet sudden careful broken distributed simple patient slow early hidden honest strange modular cold recent reliable
  small ordinary curious stubborn temporary old fragile brilliant parallel forgotten lazy eager strict gentle`)
const NOUNS = words(`
  engine loom garden bridge harbour letter machine queue river station kitchen compiler index ledger window signal
  replica orchard lantern message market cathedral archive schedule contract boundary module library festival network
  winter database journey notebook teacher mountain cache protocol railway village conversation experiment map`)
const VERBS = words(`
  carries weaves forgets repairs measures follows replaces explains delays remembers protects divides collects breaks
  welcomes ignores improves counts answers questions surprises keeps needs describes outlives resembles`)
const ADVERBS = words('slowly quietly often rarely almost always gladly never carefully usually suddenly eventually')
const LINKS = words('because although while until whenever where since unless')
const SYLLABLES = words('ba ce di fo gu ha ki lo mu na pe ri so ta ve wi xo yu za qui sha tro')

const TOPICS = words(`
  history fastify typescript postgresql travel cooking music science books gardening cycling architecture photography
  testing design performance security databases networks philosophy astronomy mathematics poetry painting sailing
  weather economics languages chess trains`)

/** Which of `count` it is: the first ones much more often than the last. */
export const skewed = (random: Random, count: number): number => Math.floor(count * random() ** 3)

const pick = (random: Random, list: readonly string[]): string => list[skewed(random, list.length)]!
const evenly = (random: Random, list: readonly string[]): string => list[Math.floor(random() * list.length)]!

/** A word of which there are some thousands, for searches that find little. */
const rareWord = (random: Random): string => Array.from({ length: 3 }, () => evenly(random, SYLLABLES)).join('')

/** The words of one text: a few of all that there are, as when somebody writes about something. */
function wordsFor(random: Random) {
  const some = (list: readonly string[], count: number) => Array.from({ length: count }, () => pick(random, list))
  return {
    adjectives: some(ADJECTIVES, 4),
    nouns: [...some(NOUNS, 5), rareWord(random)],
    verbs: some(VERBS, 4),
  }
}
type Words = ReturnType<typeof wordsFor>

const phrase = (random: Random, { adjectives, nouns }: Words): string =>
  random() < 0.6 ? `the ${evenly(random, adjectives)} ${evenly(random, nouns)}` : `a ${evenly(random, nouns)}`

const clause = (random: Random, words: Words): string => {
  const adverb = random() < 0.2 ? `${evenly(random, ADVERBS)} ` : ''
  return `${phrase(random, words)} ${adverb}${evenly(random, words.verbs)} ${phrase(random, words)}`
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

function sentence(random: Random, words: Words): string {
  const more = random() < 0.5 ? ` ${evenly(random, LINKS)} ${clause(random, words)}` : ''
  return `${capital(clause(random, words))}${more}.`
}

/** A title and so many sentences in paragraphs, about the same. */
export function article(random: Random, sentences: number): { title: string; content: string } {
  const words = wordsFor(random)
  const title = capital(`${phrase(random, words)} that ${evenly(random, words.verbs)} ${phrase(random, words)}`)
  let content = sentence(random, words)
  for (let n = 1; n < sentences; n++) content += (n % 5 === 0 ? '\n\n' : ' ') + sentence(random, words)
  return { title, content }
}

export const name = (random: Random) => ({
  firstName: evenly(random, FIRST_NAMES),
  lastName: evenly(random, LAST_NAMES),
})

/** Up to four tags; some are on every tenth post, and some on one in ten thousand. */
export function tags(random: Random): string[] {
  const wanted = Math.floor(random() * 5)
  const found = Array.from({ length: wanted }, () =>
    random() < 0.05 ? `${pick(random, TOPICS)} ${rareWord(random)}` : pick(random, TOPICS),
  )
  return [...new Set(found)]
}
