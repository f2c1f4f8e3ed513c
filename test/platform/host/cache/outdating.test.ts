import t from 'tap'
import { until } from '../../../support/until.ts'
import { shelf, start, World } from './shelf.ts'

t.setTimeout(240_000)

for (const outside of [[], ['users']])
  for (const queue of ['postgres', 'redis'] as const) {
    const place = outside.length > 0 ? 'in two processes' : 'in one process'
    const where = `${place}, kept ${queue === 'redis' ? 'in Redis' : 'in memory'}`

    t.test(`whoever handles an event reads what is true since, ${where}`, async (t) => {
      const world = new World()
      await start(t, world, { outside, queue, subscribes: true })
      const [client] = world.readers
      for (let n = 1; n <= 20; n++) {
        t.equal((await client!.read({ id: 'a' })).n, n - 1)
        await world.change('a', n)
        await until('the event', () => world.handled.length === n)
        t.strictSame(world.handled.at(-1), { n, read: n })
      }
      t.equal((await client!.read({ id: 'a' })).n, 20, 'and so does everybody after it')
      const { reads } = world
      await client!.read({ id: 'b' })
      await world.change('a', 21)
      await until('the event', () => world.handled.length === 21)
      await client!.read({ id: 'b' })
      t.ok(world.reads <= reads + 3, 'another book was read once')
    })

    t.test(`a module that does not subscribe is told all the same, ${where}`, async (t) => {
      const world = new World()
      await start(t, world, { outside, queue, subscribes: false })
      const [client] = world.readers
      const read = async (id: string) => (await client!.read({ id })).n
      t.equal(await read('7'), 0)
      await world.change('7', 1)
      await until('what is true', async () => (await read('7')) === 1)
      world.books.set('7', 2)
      await world.shelf!.db.transaction(async (tx) => {
        await world.shelf!.publish(tx, shelf.events.dusted, { id: '7' })
        await world.shelf!.publish(tx, shelf.events.moved, { to: 'the hall' })
      })
      await until('what is true', async () => (await read('7')) === 2)
    })
  }
