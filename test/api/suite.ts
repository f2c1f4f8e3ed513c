import type { Test } from 'tap'
import { accounts } from './accounts.ts'
import { badInput } from './bad-input.ts'
import { connect, type Target } from './client.ts'
import { comments } from './comments.ts'
import { conventions } from './conventions.ts'
import { docs } from './docs.ts'
import { watchDrift } from './drift.ts'
import { messages } from './messages.ts'
import { notifications } from './notifications.ts'
import { posts } from './posts.ts'
import { profile } from './profile.ts'
import { push } from './push.ts'
import { recovery } from './recovery.ts'
import { search } from './search.ts'
import { signIns } from './sign-ins.ts'
import { story } from './story.ts'
import { stream } from './stream.ts'
import { tags } from './tags.ts'
import { users } from './users.ts'

/** What holds for every running Seam, wherever its modules are: the whole public API, from outside. */
export async function apiSuite(t: Test, target: Target): Promise<void> {
  const api = connect(t, target)
  const drift = await watchDrift()
  api.drift = drift
  const parts = {
    story,
    accounts,
    signIns,
    recovery,
    profile,
    users,
    posts,
    comments,
    search,
    tags,
    notifications,
    stream,
    messages,
    push,
    conventions,
    docs,
    badInput,
  }
  for (const [name, part] of Object.entries(parts)) await t.test(name, (t) => part(t, api))
  t.strictSame([...drift.faults], [], 'every answer is as the document says')
  t.strictSame(
    drift.operations.filter((operation) => !drift.seen.has(operation)),
    [],
    'every operation was asked for',
  )
}
