import { Writable } from 'node:stream'
import t from 'tap'
import { openModuleDatabase } from '../../../../src/platform/host/data/databases.ts'
import { createLog } from '../../../../src/platform/host/ops/log.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { sql } from '../../../../src/platform/kit/tables.ts'
import { freePorts } from '../../../support/ports.ts'

t.test('the values of a query that failed are not in the log, its text and cause are', async (t) => {
  const lines: string[] = []
  const write: Writable['_write'] = (chunk, _encoding, done) => {
    lines.push(String(chunk))
    done()
  }
  const log = createLog('info', new Writable({ write }))
  const [port] = await freePorts(1)
  const { db, close } = openModuleDatabase('users', `postgres://u:p@127.0.0.1:${port}/none`)
  t.teardown(close)
  const pasted = 'a trace\n    at home (hunter2)'
  const error = await db
    .execute(sql`select ${'ada@example.com'}, ${pasted}, ${'$argon2id$hash'}`)
    .catch((error) => error)
  t.match(error.message, /ada@example.com/, 'drizzle puts them there')

  log.error({ err: error }, 'it failed')
  const [line = ''] = lines
  t.notMatch(line, /ada@example\.com|hunter2|argon2id/)
  t.match(JSON.parse(line), {
    msg: 'it failed',
    err: { message: /Failed query: select/, stack: /\n {4}at /, cause: { code: 'ECONNREFUSED' } },
  })
})

t.test('lines say nothing about people, and which request and trace they belong to', async (t) => {
  const lines: string[] = []
  const write: Writable['_write'] = (chunk, _encoding, done) => {
    lines.push(String(chunk))
    done()
  }
  const log = createLog('info', new Writable({ write }))
  const context = new RequestContext({ requestId: 'request-1' })
  context.run(() => {
    log.warn(
      { err: new Error('550 <ada@example.com> is unknown', { cause: new Error('to bob.l@mail.example.org') }) },
      'no',
    )
    log.warn(
      { reason: 'mailbox of ada@example.com is full', user: { password: 'hunter2', email: 'ada@example.com' } },
      'no',
    )
    log.child({ requestId: 'request-1' }).info({ token: 'hunter2', headers: { authorization: 'hunter2' } }, 'yes')
  })
  context.end()
  t.notMatch(lines.join(''), /ada|bob|hunter2/)
  t.match(lines[0], /550 <…@…> is unknown/)
  for (const line of lines) {
    t.match(JSON.parse(line), { requestId: 'request-1', traceId: context.traceId })
    t.equal(line.match(/"requestId"/g)!.length, 1)
  }
  log.info('of nobody')
  t.notMatch(lines.at(-1), 'requestId')
})
