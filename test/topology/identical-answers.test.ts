import postgres from 'postgres'
import t, { type Test } from 'tap'
import { connect } from '../api/client.ts'
import { settled } from '../support/published.ts'
import { startSmtp } from '../support/smtp.ts'
import { startTopology } from '../support/topology.ts'
import { nameOf, PLACEMENTS } from './placements.ts'
import { type Exchange, record } from './recording.ts'

const SECRET = 'the secret of all placements, of enough length'

t.setTimeout(400_000)
t.test('the same requests get the same answers in every placement', async (t) => {
  t.setTimeout(400_000)
  const [expected, ...others] = PLACEMENTS
  const reference = await recordIn(t, expected!)
  t.ok(reference.length > 90, `${reference.length} requests`)
  t.notOk(
    reference.some(({ lines }) => Number(lines[0]) >= 500),
    'none of them fails',
  )
  for (const outside of others) {
    await t.test(nameOf(outside), async (t) => {
      const answers = await recordIn(t, outside)
      const differences = reference.flatMap(({ what, lines }, index) => {
        const found = answers[index]?.lines ?? []
        return lines.join('\n') === found.join('\n') ? [] : [`${what}\n${difference(lines, found)}`]
      })
      t.equal(differences.join('\n\n'), '', 'nothing differs')
      t.equal(answers.length, reference.length)
    })
  }
})

async function recordIn(t: Test, outside: readonly string[]): Promise<Exchange[]> {
  const smtp = await startSmtp()
  const topology = await startTopology({ outside, env: { SMTP_URL: smtp.url, SECRET } })
  const sql = postgres(topology.databaseUrl, { max: 1 })
  try {
    return await record(connect(t, { url: topology.url, smtp, secret: SECRET, operate: topology.operate }), () =>
      settled(sql, 'users', 'posts'),
    )
  } finally {
    await sql.end()
    await topology.close()
    await smtp.close()
  }
}

/** The lines that only one process has (-) and only this placement has (+). */
function difference(expected: readonly string[], found: readonly string[]): string {
  const lost = expected.filter((line) => !found.includes(line)).map((line) => `  - ${line}`)
  const added = found.filter((line) => !expected.includes(line)).map((line) => `  + ${line}`)
  return [...lost, ...added].join('\n') || '  the same lines in another order'
}
