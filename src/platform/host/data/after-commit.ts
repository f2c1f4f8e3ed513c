import type { Database, Transaction } from '../../kit/tables.ts'

const following = new WeakMap<object, (() => void)[]>()

/** Runs a function as soon as a transaction has been committed, if it is; it is lost when the process dies in between. */
export function afterCommit(tx: Transaction, run: () => void): void {
  following.get(tx)?.push(run)
}

/** The same database, whose transactions know what is to follow them. */
export function withAfterCommit(db: Database): Database {
  const begin = db.transaction.bind(db)
  db.transaction = async (work, options) => {
    const runs: (() => void)[] = []
    const result = await begin((tx) => work(followed(tx, runs)), options)
    for (const run of runs) run()
    return result
  }
  return db
}

function followed(tx: Transaction, runs: (() => void)[]): Transaction {
  following.set(tx, runs)
  const begin = tx.transaction.bind(tx)
  tx.transaction = (work) => begin((inner) => work(followed(inner, runs)))
  return tx
}
