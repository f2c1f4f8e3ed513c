import { setTimeout as sleep } from 'node:timers/promises'
import { MODULES, type World } from './world.ts'
import type { Model } from './writer.ts'

/** How long events may take to have their effects after the last fault, in milliseconds. */
const PATIENCE = 180_000

/** Waits until every event is confirmed by every subscriber and every mail is sent, at most three minutes. */
export async function quiet({ sql }: World): Promise<string[]> {
  const end = Date.now() + PATIENCE
  let left: string[] = []
  do {
    await sleep(250)
    left = []
    for (const module of MODULES) {
      const [row] = await sql`
        select (select count(*)::int from ${sql(module)}.outbox_deliveries where confirmed_at is null) as unconfirmed,
          (select count(*)::int from ${sql(module)}.outbox_new) as new,
          (select count(*)::int from ${sql(module)}.inbox where dead_at is null) as waiting,
          (select count(*)::int from ${sql(module)}.inbox where dead_at is not null) as dead`
      for (const [what, count] of Object.entries(row!)) if (count > 0) left.push(`${count} ${what} at ${module}`)
    }
    // What a process was sending when it was killed is left alone for a minute, which would only be waited for here.
    const mails = await sql`
      update notifications.outgoing set due_at = now() where status = 'queued' and due_at > now() + interval '5 s'
      returning 1`
    const [queued] = await sql`select count(*)::int as count from notifications.outgoing where status = 'queued'`
    if (queued!.count > 0) left.push(`${queued!.count} mails, ${mails.count} of them put off`)
  } while (left.length > 0 && Date.now() < end)
  return left
}

/** Compares what the databases and the mailbox hold with what was done: all that is wrong, in words. */
export async function judge({ sql, smtp }: World, model: Model): Promise<string[]> {
  const wrong: string[] = []
  const same = (what: string, found: unknown, wanted: unknown) => {
    if (found !== wanted) wrong.push(`${what}: ${found} instead of ${wanted}`)
  }

  const published = await sql`
    select name, count(*)::int as count from (
      select name from users.outbox union all select name from posts.outbox) as all_of group by name`
  const count = (name: string) => published.find((row) => row.name === name)?.count ?? 0
  same('user.created', count('user.created'), model.users.length)
  same('post.created', count('post.created'), model.posts.size + model.deleted)
  same('post.deleted', count('post.deleted'), model.deleted)
  same('comment.created', count('comment.created'), model.comments.size)

  const written = new Map<string, number>()
  for (const { authorId } of model.posts.values()) written.set(authorId, (written.get(authorId) ?? 0) + 1)
  const counts = new Map((await sql`select id, post_count from users.users`).map((row) => [row.id, row.post_count]))
  const names = new Map((await sql`select id, first_name from posts.authors`).map((row) => [row.id, row.first_name]))
  const turns = Map.groupBy(
    await sql<
      (Turn & { author_id: string })[]
    >`select author_id, version, first_name as name from chaos.turns order by n`,
    ({ author_id }) => author_id,
  )
  const welcomes = new Map(
    (
      await sql`select user_id, count(*)::int as count from notifications.notifications where kind = 'welcome' group by 1`
    ).map((row) => [row.user_id, row.count]),
  )
  const letters = Map.groupBy(
    smtp.mails.filter(({ words }) => words.includes('Welcome')),
    ({ to }) => to[0],
  )
  for (const { id, email, name, renamed } of model.users) {
    same(`posts of ${email}`, counts.get(id), written.get(id) ?? 0)
    same(`name of ${email} at posts`, names.get(id), name)
    wrong.push(...judgeTurns(email, turns.get(id) ?? [], 1 + renamed))
    same(`welcomes of ${email}`, welcomes.get(id), 1)
    same(`welcome mails of ${email}`, new Set(letters.get(email)?.map(({ messageId }) => messageId)).size, 1)
  }

  const heard = new Map(
    (
      await sql`select link, count(*)::int as count from notifications.notifications where kind = 'comment' group by 1`
    ).map((row) => [row.link, row.count]),
  )
  for (const [id, { toOther }] of model.comments)
    same(`notifications of comment ${id}`, heard.get(`/api/comments/${id}`) ?? 0, toOther ? 1 : 0)
  return wrong
}

/** An event of a user that posts have handled: its number, and the name that it says. */
export interface Turn {
  readonly version: number
  readonly name: string
}

/**
 * Compares the events of one user, in the order in which they were handled, with how many there were. The first says v0, and
 * each of the others the next name, so they are to be numbered as they were committed.
 */
export function judgeTurns(who: string, turns: readonly Turn[], count: number): string[] {
  const wrong: string[] = []
  const seen = new Set<number>()
  let last = 0
  for (const { version, name } of turns) {
    const event = `event ${version} of ${who}`
    if (seen.has(version)) wrong.push(`doubled: ${event}`)
    else if (version < last) wrong.push(`out of order: ${event} after event ${last}`)
    if (version > count) wrong.push(`not published: ${event}`)
    if (name !== `v${version - 1}`) wrong.push(`numbered otherwise than committed: ${event} says ${name}`)
    seen.add(version)
    last = Math.max(last, version)
  }
  for (let version = 1; version <= count; version++)
    if (!seen.has(version)) wrong.push(`lost: event ${version} of ${who}`)
  return wrong
}
