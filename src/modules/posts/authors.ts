import type { ModuleApp } from '../../platform/kit/module.ts'
import { eq, sql, type Transaction } from '../../platform/kit/tables.ts'
import { users } from '../users/contract.ts'
import { posts as contract } from './contract.ts'
import { authors } from './tables.ts'

/** Nothing could be written, because the author is not known here (yet) or has deleted their account. */
export class NotAnAuthor extends Error {}

/** Selects an author who may write, and keeps their account from being deleted until the transaction has ended. */
export const writingAuthor = (id: string) => sql`
  select id, first_name, last_name, version from authors where id = ${id}::uuid and deleted_at is null for key share`

export type Authors = ReturnType<typeof authorsOf>

/**
 * The authors of the module's database: kept up to date by the events of users, each of which may come again, or all of
 * them from the beginning.
 */
export function authorsOf(app: ModuleApp<typeof contract>, { onDeleted }: { onDeleted: () => void }) {
  const { getUser } = app.call(users)

  const learn = async (
    tx: Transaction,
    version: number,
    user: { userId: string; firstName: string; lastName: string },
  ) => {
    const author = { firstName: user.firstName, lastName: user.lastName, version }
    await tx
      .insert(authors)
      .values({ id: user.userId, ...author })
      .onConflictDoUpdate({ target: authors.id, set: author, setWhere: sql`${authors.version} < excluded.version` })
  }
  app.subscribe(users.events.userCreated, ({ data, sequence }, { tx }) => learn(tx, sequence, data))
  app.subscribe(users.events.userUpdated, ({ data, sequence }, { tx }) => learn(tx, sequence, data))

  app.subscribe(users.events.userDeleted, async ({ data, sequence }, { tx, afterCommit }) => {
    const nameless = { firstName: '', lastName: '', version: sequence, deletedAt: sql`now()` }
    await tx
      .insert(authors)
      .values({ id: data.userId, ...nameless })
      .onConflictDoNothing()
    // Waits for what this author is writing at the moment; nobody writes for them after it.
    await tx.select({ id: authors.id }).from(authors).where(eq(authors.id, data.userId)).for('update')
    await tx.update(authors).set(nameless).where(sql`${authors.id} = ${data.userId} and ${authors.deletedAt} is null`)
    afterCommit(onDeleted)
  })

  /** Asks users for somebody who registered a moment ago. */
  const introduce = async (id: string) => {
    const [known] = await app.db.select({ deletedAt: authors.deletedAt }).from(authors).where(eq(authors.id, id))
    if (known?.deletedAt) throw new contract.errors.AuthorUnknown()
    if (known) return
    const { firstName, lastName } = await getUser({ id }).catch((error) => {
      throw error instanceof users.errors.UserNotFound ? new contract.errors.AuthorUnknown() : error
    })
    // What users say is at least what their first event says.
    await app.db.insert(authors).values({ id, firstName, lastName, version: 1 }).onConflictDoNothing()
  }

  return {
    /**
     * Does something for an author, which throws {@link NotAnAuthor} if they are not known here; then it gets to know
     * them and does it again.
     *
     * @throws {AuthorUnknown} when they have no account any more
     * @throws {Unavailable} when they are not known here, and users cannot be asked
     */
    async knowing<T>(id: string, work: () => Promise<T>): Promise<T> {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof NotAnAuthor)) throw error
      }
      await introduce(id)
      return work().catch((error) => {
        throw error instanceof NotAnAuthor ? new contract.errors.AuthorUnknown() : error
      })
    },
  }
}
