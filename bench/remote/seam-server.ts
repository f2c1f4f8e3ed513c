import cookie from '@fastify/cookie'
import pino from 'pino'
import { authenticate } from '../../src/platform/host/edge/authenticate.ts'
import { createServer } from '../../src/platform/host/http/server.ts'
import { sessionsIn } from '../../src/platform/host/identity/sessions.ts'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { serveProcedures } from '../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../src/platform/host/rpc/procedures.ts'
import { noSessions } from '../../test/support/no-sessions.ts'
import { serve } from '../lib/children.ts'
import { example, getUser, type INPUT } from '../lib/example.ts'

/** Serves the example as an internal service does (`EDGE=false`), hooks included. */
await serve<{ secret: string }>(async ({ secret }) => {
  const log = pino({ level: 'warn' })
  const tokens = systemTokens(secret)
  const procedures = new Procedures({ strict: false, log })
  procedures.implement(example, { getUser: (input) => getUser(input as typeof INPUT) })
  const server = createServer({ log, trustProxy: true })
  await server.register(cookie)
  const sessions = sessionsIn(noSessions, { secret, tokens, log })
  authenticate(server, { edge: false, tokens, sessions })
  serveProcedures(server, example.name, [{ contract: example, mayCall: (caller) => caller === 'bench' }], {
    procedures,
    tokens,
  })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { ready: { url } }
})
