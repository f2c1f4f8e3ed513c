import { startApplication } from '../lib/application.ts'
import { databaseUrl, seedPosts } from '../lib/database.ts'
import type { LoadResult } from '../lib/load.ts'
import { grouped } from '../lib/numbers.ts'
import { atLeast, headline, type Part } from '../lib/report.ts'
import { inTurns } from '../lib/rounds.ts'
import { perSecond, printReads, reader, speed, startLoad } from './part.ts'

/** Requests after which the application must be as fast as at the start. */
const MANY = 1_000_000

export const sustainedReads: Part = async ({ quick, rounds = 5 }) => {
  headline(
    'The same read after a million requests',
    'A process that has answered a million, in turns with one that has just been started and warmed up: what the machine does meanwhile meets both. Takes about 3 minutes.',
  )
  const DATABASE_URL = await databaseUrl()
  const old = await startApplication({ DATABASE_URL })
  const ids = await seedPosts(DATABASE_URL)
  const generator = await startLoad(ids)
  const oldReader = reader('', generator, old.port, quick)
  await oldReader.measure()
  const [atStart] = await inTurns([oldReader], { warmUps: 0, rounds: 3 })
  let answered = 0
  while (answered < MANY) answered += (await oldReader.measure()).requests
  console.log(`  At the start ${grouped(perSecond(atStart!))} requests/s; ${grouped(answered)} requests later:\n`)

  const fresh = await startApplication({ DATABASE_URL })
  const series = await inTurns<LoadResult>(
    [
      reader('a fresh process', generator, fresh.port, quick),
      reader('after a million requests', generator, old.port, quick),
    ],
    { warmUps: 2, rounds },
  )
  await Promise.all([old, fresh, generator].map((each) => each.end()))
  printReads(series)
  return [atLeast('A read after a million, against a fresh process', 0.95, speed(series[1]!, series[0]!))]
}
