import t from 'tap'
import { startSmtp } from './support/smtp.ts'
import { startTopology } from './support/topology.ts'

t.test('the story works in one process', async (t) => {
  const smtp = await startSmtp()
  const topology = await startTopology({ env: { SMTP_URL: smtp.url } })
  t.teardown(async () => {
    await topology.close()
    await smtp.close()
  })
  const r = await fetch(`${topology.url}/api/health`)
  t.equal(r.status, 200)
})
