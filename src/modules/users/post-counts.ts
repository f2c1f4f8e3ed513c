import type { Handling, ModuleApp } from '../../platform/kit/module.ts'
import { sql, type Transaction } from '../../platform/kit/tables.ts'
import { posts } from '../posts/contract.ts'
import type { users as contract } from './contract.ts'

/** Counts the posts of each user. Nothing happens for one who is gone. */
export function countPosts(app: ModuleApp<typeof contract>): void {
  const changes = new WeakMap<Transaction, Map<string, number>>()

  const count = (userId: string, change: 1 | -1, { tx, beforeCommit }: Handling) => {
    const counted = changes.get(tx) ?? new Map<string, number>()
    counted.set(userId, (counted.get(userId) ?? 0) + change)
    changes.set(tx, counted)
    beforeCommit(write)
  }
  /** Locks users in the order of their ids: events of other posts, which others handle, may be of the same users. */
  const write = async (tx: Transaction) => {
    const counted = [...changes.get(tx)!].map(([id, change]) => ({ id, change }))
    await tx.execute(sql`
      with counted as (
        select users.id, change
        from users join jsonb_to_recordset(${JSON.stringify(counted)}::jsonb) as counted (id uuid, change int) using (id)
        order by users.id for update of users
      )
      update users set post_count = greatest(post_count + change, 0), version = version + 1
      from counted where users.id = counted.id`)
  }

  app.subscribe(posts.events.postCreated, async ({ data }, handling) => count(data.authorId, 1, handling))
  app.subscribe(posts.events.postDeleted, async ({ data }, handling) => count(data.authorId, -1, handling))
}
