import pino from 'pino'
import t from 'tap'
import { createServer } from '../../../../src/platform/host/http/server.ts'

function logged(level: string) {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level }, { write: (line) => void lines.push(JSON.parse(line)) })
  return { lines, log, server: createServer({ log, trustProxy: [] }) }
}

t.test('what is logged in a request names the request, whatever the level', async (t) => {
  const { lines, server } = logged('trace')
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const
  server.get('/', async (request) => {
    for (const level of levels) request.log[level]({ about: level }, 'said %s', level)
    request.log.child({ part: 'a part' }).warn('a part said this')
    request.log.silent('nothing')
    return {}
  })
  t.teardown(() => server.close())
  await server.inject({ url: '/', headers: { 'x-request-id': 'mine' } })
  t.match(lines, [
    ...levels.map((level) => ({
      level: pino.levels.values[level],
      about: level,
      msg: `said ${level}`,
      requestId: 'mine',
    })),
    { part: 'a part', msg: 'a part said this', requestId: 'mine' },
    { msg: 'answered', requestId: 'mine', method: 'GET', url: '/', status: 200, ms: /^\d/ },
  ])
})

t.test('no logger is made for a request in which nothing is logged', async (t) => {
  const { lines, log, server } = logged('info')
  let made = 0
  const child = log.child
  log.child = ((...of: Parameters<typeof child>) => {
    made++
    return child.apply(log, of)
  }) as typeof child
  server.get('/quiet', async () => ({}))
  server.get('/loud', async (request) => {
    request.log.info('one')
    request.log.info('two')
    return {}
  })
  t.teardown(() => server.close())
  await server.inject('/quiet')
  t.equal(made, 0)
  await server.inject('/loud')
  t.equal(made, 1)
  t.equal(lines.length, 4, 'and the answers are logged all the same')
})

t.test('a request has a level of its own, if it is given one', async (t) => {
  const { lines, server } = logged('warn')
  server.get('/', async (request) => {
    t.equal(request.log.level, 'warn')
    request.log.level = 'debug'
    request.log.debug('in detail')
    return {}
  })
  t.teardown(() => server.close())
  await server.inject('/')
  t.match(lines, [{ msg: 'in detail' }])
})
