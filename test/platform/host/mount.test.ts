import { randomUUID } from 'node:crypto'
import t from 'tap'
import { systemTokens } from '../../../src/platform/host/identity/tokens.ts'
import { defineContract } from '../../../src/platform/kit/contract.ts'
import { ensureOwner, type Identity, type Role } from '../../../src/platform/kit/permissions.ts'
import { bootWith, moduleOf } from './boot.ts'

const { build, faults } = await bootWith(t)
const shop = defineContract('mount-shop', { routes: ['/api/shop', '/api/carts'] })
const anyone = { config: { allow: 'anyone' } } as const

t.test('routes below the prefixes of their module are served', async (t) => {
  const { api } = await build(t, [
    moduleOf(shop, (app) => {
      app.get('/api/shop', anyone, async () => 'shop')
      app.get('/api/shop/:id', anyone, async () => 'one')
      app.register(
        async (scope) => {
          scope.get('/:id', anyone, async () => 'cart')
        },
        { prefix: '/api/carts' },
      )
    }),
  ])
  for (const [url, text] of [
    ['/api/shop', 'shop'],
    ['/api/shop/1', 'one'],
    ['/api/carts/1', 'cart'],
  ])
    t.equal((await api.inject(url!)).payload, text)
})

t.test('a route outside of the prefixes is refused', async (t) => {
  const seen = await faults([
    moduleOf(shop, (app) => {
      app.get('/api/shop', anyone, async () => 1)
      for (const url of ['/api/shops', '/api', '/', '/shop', '/api/cart/1', '*', '/:any/shop'])
        app.post(url, anyone, async () => 1)
    }),
  ])
  t.equal(seen.length, 7)
  t.equal(seen[0], '"mount-shop": POST /api/shops is outside of its prefixes (/api/shop, /api/carts).')
})

t.test('a route that is hidden in a plugin of its own is seen as well', async (t) => {
  const seen = await faults([
    moduleOf(shop, (app) => {
      app.register(async (scope) => {
        scope.register(async (deeper) => void deeper.post('/api/users', async () => 1))
      })
    }),
  ])
  t.strictSame(seen, [
    '"mount-shop": POST /api/users is outside of its prefixes (/api/shop, /api/carts).',
    '"mount-shop": POST /api/users does not say who may use it (config.allow).',
  ])
})

t.test('a module without prefixes has no routes', async (t) => {
  const seen = await faults([
    moduleOf(defineContract('mount-none', {}), (app) => void app.post('/api/x', anyone, async () => 1)),
  ])
  t.strictSame(seen, ['"mount-none": POST /api/x is outside of its prefixes (none).'])
})

t.test('a route that does not say who may use it is refused', async (t) => {
  const seen = await faults([
    moduleOf(shop, (app) => {
      app.post('/api/shop', async () => 1)
      app.put('/api/shop', { config: {} }, async () => 1)
      app.route({ method: ['PATCH', 'DELETE'], url: '/api/shop', handler: async () => 1 })
      app.post('/api/carts', { config: { allow: 'user' } }, async () => 1)
    }),
  ])
  t.equal(seen.length, 3)
  for (const fault of seen)
    t.match(fault, /"mount-shop": .* \/api\/shop does not say who may use it \(config\.allow\)\./)
})

t.test('what one module decorates, the next does not see', async (t) => {
  const seen: unknown[] = []
  const look = (app: { hasDecorator(name: string): boolean }) => seen.push(app.hasDecorator('secretOfShop'))
  await build(t, [
    moduleOf(shop, (app) => {
      app.decorate('secretOfShop', 1)
      look(app)
    }),
    moduleOf(defineContract('mount-other', {}), (app) => void look(app)),
  ])
  t.strictSame(seen, [true, false])
})

t.test('hooks of one module do not run for another', async (t) => {
  const other = defineContract('mount-other', { routes: ['/api/other'] })
  const { api } = await build(t, [
    moduleOf(shop, (app) => {
      app.addHook('onRequest', async (_request, reply) => void reply.header('x-shop', '1'))
      app.get('/api/shop', anyone, async () => 1)
    }),
    moduleOf(other, (app) => void app.get('/api/other', anyone, async () => 1)),
  ])
  t.equal((await api.inject('/api/shop')).headers['x-shop'], '1')
  t.equal((await api.inject('/api/other')).headers['x-shop'], undefined)
})

t.test('who may use a route', async (t) => {
  const SECRET = 'a secret that only these tests know, of enough length'
  const removing = { name: 'mount-shop.remove', roles: ['moderator', 'admin'] as Role[] }
  const ownerId = randomUUID()
  const owned = { config: { allow: { owner: true } } } as const
  const ownedOrRemoved = { config: { allow: { owner: true, permission: removing } } } as const
  let hooked = 0
  const module = moduleOf(shop, (app) => {
    app.get('/api/shop/own', owned, async (request) => ensureOwner(request, ownerId).userId)
    app.get('/api/shop/removed', ownedOrRemoved, async (request) => ensureOwner(request, ownerId).userId)
    app.get('/api/shop/permitted', { config: { allow: { permission: removing } } }, async () => 'secret')
    app.get('/api/shop/forgotten', owned, async () => ({ text: 'secret' }))
    app.get('/api/shop/none', owned, async (_request, reply) => reply.code(204).send())
    app.get('/api/shop/absent', owned, async (_request, reply) => reply.code(404).send({ text: 'no such thing' }))
    const onSend = async () => void hooked++
    app.get('/api/shop/hooked', { ...owned, onSend }, async () => 'secret')
    app.get(
      '/api/shop/misplaced',
      { config: { allow: 'user' } },
      async (request) => ensureOwner(request, ownerId).userId,
    )
  })
  const { api } = await build(t, [module], { SECRET })
  const ask = (name: string, who: Identity | null) => {
    const token = systemTokens(SECRET).identity.sign(shop.name, { identity: who })
    return api.inject({ url: `/api/shop/${name}`, headers: { 'x-seam-identity': token } })
  }
  const somebody = (roles: Role[], userId: string = randomUUID()) => ({ userId, roles, sessionId: randomUUID() })
  const callers = {
    nobody: null,
    owner: somebody(['member'], ownerId),
    member: somebody(['member']),
    moderator: somebody(['moderator']),
  }

  t.test('is asked of the caller', async (t) => {
    for (const [name, statuses] of Object.entries({
      own: [401, 200, 403, 403],
      removed: [401, 200, 403, 200],
      permitted: [401, 403, 403, 200],
      misplaced: [401, 500, 500, 500],
    })) {
      const answers = await Promise.all(Object.values(callers).map((who) => ask(name, who)))
      t.same(
        answers.map(({ statusCode }) => statusCode),
        statuses,
        name,
      )
    }
  })

  t.test('a route that does not ask for the owner is a fault, and says nothing of what it would have', async (t) => {
    for (const name of ['forgotten', 'none', 'hooked']) {
      const answer = await ask(name, callers.owner)
      t.match([answer.statusCode, answer.json().code], [500, 'Internal'], name)
      t.notMatch(answer.payload, 'secret')
      t.equal(answer.headers['content-type'], 'application/problem+json')
    }
    t.equal(hooked > 0, true, 'hooks of its own still run')
    t.equal((await ask('absent', callers.owner)).statusCode, 404, 'a refusal needs no owner')
  })
})
