import t, { type Test } from 'tap'
import type { App } from '../../../../src/app.ts'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { bootWith, moduleOf } from '../boot.ts'

const LOGIN_LIMIT = 4
const gate = defineContract('attempts-gate', { routes: ['/api/gate'] })
const accountOf = ({ body }: { body: unknown }) => (body as { account?: string } | undefined)?.account

const module = moduleOf(gate, (app) => {
  const limited = { allow: 'anyone', limit: { account: accountOf } } as const
  app.post('/api/gate/try', { config: limited }, async () => ({ data: 'tried' }))
  app.post('/api/gate/other', { config: limited }, async () => ({ data: 'tried' }))
  app.post('/api/gate/code', { config: { allow: 'anyone', limit: {} } }, async () => ({ data: 'tried' }))
  app.post('/api/gate/free', { config: { allow: 'anyone' } }, async () => ({ data: 'free' }))
})

/** One attempt: for an account, from an address. */
async function attempt({ api }: App, path: string, account: string | undefined, address: string) {
  const answer = await api.inject({
    method: 'POST',
    url: `/api/gate/${path}`,
    payload: { account },
    headers: { 'x-forwarded-for': address },
  })
  return { status: answer.statusCode, headers: answer.headers, problem: answer.json() }
}

function refused(t: Test, { status, headers, problem }: Awaited<ReturnType<typeof attempt>>, what: string): void {
  t.match([status, problem.code, problem.module], [429, 'TooManyRequests', 'seam'], what)
  const seconds = Number(headers['retry-after'])
  t.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, `Retry-After: ${headers['retry-after']}`)
}

const env = { LOGIN_LIMIT: `${LOGIN_LIMIT}`, RATE_LIMIT: '100000', TRUST_PROXY: '127.0.0.1' }
let addresses = 0
/** Addresses that no other part has used: the counters go on for a minute. */
const newAddress = () => `10.0.${addresses >> 8}.${addresses++ & 255}`

/** What holds wherever attempts are counted: `doors` are ways in that count together. */
async function countsAttempts(t: Test, doors: readonly App[]) {
  const door = (n: number) => doors[n % doors.length]!
  const name = () => `account-${addresses++}`

  const address = newAddress()
  for (let n = 0; n < LOGIN_LIMIT; n++) t.equal((await attempt(door(n), 'try', name(), address)).status, 200)
  for (const [n] of doors.entries()) refused(t, await attempt(door(n), 'try', name(), address), 'an address')
  refused(t, await attempt(door(0), 'try', undefined, address), 'without an account, too')
  t.equal((await attempt(door(0), 'try', name(), newAddress())).status, 200, 'another address may try')
  t.equal((await attempt(door(0), 'other', name(), address)).status, 200, 'and the same at another route')
  t.equal((await attempt(door(0), 'free', name(), address)).status, 200)

  const account = name()
  for (let n = 0; n < LOGIN_LIMIT; n++) t.equal((await attempt(door(n), 'try', account, newAddress())).status, 200)
  for (const [n] of doors.entries()) refused(t, await attempt(door(n), 'try', account, newAddress()), 'an account')
  t.equal((await attempt(door(0), 'try', name(), newAddress())).status, 200, 'another account may be tried')
  t.equal((await attempt(door(0), 'other', account, newAddress())).status, 200)

  const network = `2001:db8:1:${addresses++}`
  for (let n = 0; n < LOGIN_LIMIT; n++)
    t.equal((await attempt(door(n), 'code', undefined, `${network}::${n + 1}`)).status, 200)
  refused(t, await attempt(door(0), 'code', undefined, `${network}:ffff::1`), 'a network of IPv6')

  const rush = newAddress()
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => attempt(door(n), 'try', name(), rush)))
  t.equal(answers.filter(({ status }) => status === 200).length, LOGIN_LIMIT, 'also of twenty at once')
}

t.setTimeout(240_000)

t.test('attempts are counted by address and by account: one process', async (t) => {
  const { build } = await bootWith(t)
  await countsAttempts(t, [await build(t, [module], env)])
})

t.test('with Redis all replicas count together', async (t) => {
  const { build } = await bootWith(t, 'redis')
  await countsAttempts(t, await Promise.all([build(t, [module], env), build(t, [module], env)]))
})

t.test('behind gateways the module counts, by the address of the client', async (t) => {
  const { build } = await bootWith(t)
  const inside = await build(t, [module], { ...env, EDGE: 'false' })
  const { api: ATTEMPTS_GATE_URL } = await inside.listen()
  const gateway = () => build(t, [module], { ...env, MODULES: 'none', ATTEMPTS_GATE_URL })
  await countsAttempts(t, await Promise.all([gateway(), gateway()]))
})

t.test('nobody gets more attempts by naming addresses', async (t) => {
  const { build } = await bootWith(t)
  const app = await build(t, [module], { ...env, TRUST_PROXY: '' })
  for (let n = 0; n < LOGIN_LIMIT; n++) await attempt(app, 'code', undefined, newAddress())
  refused(t, await attempt(app, 'code', undefined, newAddress()), 'an address that is not believed')
})
