import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { migrate } from '../../../src/platform/host/data/migrate.ts'
import { freshDatabase } from '../../support/database.ts'

const migrations = join(import.meta.dirname, '../../../migrations')
const [ADA, BOB] = ['01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-00000000000b']
const id = (n: number) => `01900000-0000-7000-8000-${String(n).padStart(12, '0')}`

t.test('notifications and mails of before the channels are kept, and numbered for each user', async (t) => {
  const database = await freshDatabase()
  t.teardown(() => database.close())
  const folder = await mkdtemp(join(tmpdir(), 'seam-migrations-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(join(migrations, 'notifications'), join(folder, 'notifications'), { recursive: true })
  const journal = join(folder, 'notifications/meta/_journal.json')
  const whole = await readFile(journal, 'utf8')
  const { entries, ...rest } = JSON.parse(whole)
  await writeFile(journal, JSON.stringify({ ...rest, entries: entries.slice(0, 1) }))
  await migrate(database.url, { folder, schemas: ['notifications'] })

  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  for (const [n, user] of [ADA, BOB, ADA].entries())
    await sql`insert into notifications.notifications (id, user_id, kind, text) values (${id(n)}, ${user!}, 'welcome', 'x')`
  await sql`insert into notifications.emails (id, "to", subject, text) values (${id(9)}, 'ada@example.com', 'S', 'T')`

  await writeFile(journal, whole)
  await migrate(database.url, { folder, schemas: ['notifications'] })
  const rows = await sql`select user_id, sequence::int from notifications.notifications order by id`
  t.strictSame(
    [...rows],
    [
      { user_id: ADA, sequence: 1 },
      { user_id: BOB, sequence: 1 },
      { user_id: ADA, sequence: 2 },
    ],
  )
  const known = await sql`select user_id, notified::int from notifications.recipients order by user_id`
  t.strictSame(
    [...known],
    [
      { user_id: ADA, notified: 2 },
      { user_id: BOB, notified: 1 },
    ],
  )
  const [mail] = await sql`select channel, "to", status, user_id from notifications.outgoing`
  t.strictSame(mail, { channel: 'email', to: 'ada@example.com', status: 'queued', user_id: null })
})
