import type postgres from 'postgres'
import type { Outcome } from './workload.ts'

type Effect = { id: string; amount: number }

/** What the database says that must not be, after all that the callers know: effects that are lost, doubled or of nobody. */
export async function wrongEffects(sql: postgres.Sql, outcomes: readonly Outcome[]): Promise<string[]> {
  const entries = await sql<(Effect & { deed: string })[]>`select id, deed, amount from ledger.entries`
  const moves = await sql<{ deed: string }[]>`select deed from broker.moves`
  const entriesOf = Map.groupBy(entries, ({ deed }) => deed)
  const movesOf = Map.groupBy(moves, ({ deed }) => deed)
  const wrong: string[] = []

  /** @param id of the one that its caller was told of, if it was told of one */
  const check = (deed: string, amount: number, id: string | undefined) => {
    const found = entriesOf.get(deed) ?? []
    entriesOf.delete(deed)
    if (found.length > 1) wrong.push(`${deed} took effect ${found.length} times`)
    if (id !== undefined && found.length === 0) wrong.push(`${deed} was answered and had no effect`)
    if (id !== undefined && found.length === 1 && found[0]!.id !== id)
      wrong.push(`${deed} was answered with ${id}, and its effect is ${found[0]!.id}`)
    for (const entry of found)
      if (entry.amount !== amount) wrong.push(`${deed} added ${entry.amount} and not ${amount}`)
    return found.length
  }

  for (const { name, deed, answer } of outcomes) {
    const told = typeof answer === 'object' ? (answer as { entry: string; from: string; to: string }) : undefined
    if (deed.kind === 'add') check(name, deed.amount, told?.entry)
    else if (deed.kind === 'add nothing') {
      if (entriesOf.has(name)) wrong.push(`${name} was refused and had an effect`)
      if (told) wrong.push(`${name} was not refused`)
      entriesOf.delete(name)
    } else {
      const made = [check(`${name}/from`, -deed.amount, told?.from), check(`${name}/to`, deed.amount, told?.to)]
      const noted = movesOf.get(name)?.length ?? 0
      movesOf.delete(name)
      if (noted > 1) wrong.push(`${name} was noted ${noted} times`)
      if (told && noted === 0) wrong.push(`${name} was answered and not noted`)
      if (noted > 0 && made.includes(0)) wrong.push(`${name} was noted before it was done`)
    }
  }
  const others = [...entriesOf.keys(), ...movesOf.keys()]
  if (others.length > 0) wrong.push(`nobody has asked for ${others.join(', ')}`)
  return wrong
}
