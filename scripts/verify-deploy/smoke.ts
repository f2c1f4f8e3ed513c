// The parts of the API suite that need no mail, against an address: `node scripts/verify-deploy/smoke.ts <url> <container>`. The
// container is one that hosts users; the operators' tasks are run in it.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { connect } from '../../test/api/client.ts'
import { comments } from '../../test/api/comments.ts'
import { posts } from '../../test/api/posts.ts'
import { profile } from '../../test/api/profile.ts'
import { stream } from '../../test/api/stream.ts'
import { tags } from '../../test/api/tags.ts'
import { startSmtp } from '../../test/support/smtp.ts'

t.setTimeout(180_000)
const smtp = await startSmtp()
t.teardown(() => smtp.close())
const [url = '', container = ''] = process.argv.slice(2)
const operate = async (...task: string[]) =>
  (await promisify(execFile)('docker', ['exec', container, 'node', 'src/seam.ts', ...task])).stdout
const api = connect(t, { url, smtp, secret: '', operate })
for (const [name, part] of Object.entries({ posts, comments, tags, profile, stream }))
  await t.test(name, (t) => part(t, api))
