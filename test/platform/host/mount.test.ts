import t from 'tap'
import { defineContract } from '../../../src/platform/kit/contract.ts'
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
