import t from 'tap'
import { MemoryStore } from '../../../../src/platform/host/cache/memory-store.ts'
import { look, storeSuite, textOf } from './store-suite.ts'

const LIFE = 60_000

t.test('a store in memory', async (t) => storeSuite(t, new MemoryStore()))

t.test('it keeps so many answers, those that were used last', async (t) => {
  const store = new MemoryStore({ entries: 3 })
  const keep = async (key: string) => store.keep(key, key, await look(store, key, ['m']), LIFE)
  for (const key of ['a', 'b', 'c']) await keep(key)
  t.equal(await textOf(store, 'a', ['m']), 'a')
  await keep('d')
  t.equal(await textOf(store, 'b', ['m']), undefined, 'which was used longest ago')
  for (const key of ['a', 'c', 'd']) t.equal(await textOf(store, key, ['m']), key)
})

t.test('and so many bytes', async (t) => {
  const store = new MemoryStore({ bytes: 100 })
  const keep = async (key: string, bytes: number) =>
    store.keep(key, 'x'.repeat(bytes), await look(store, key, ['m']), LIFE)
  const weights = async (...keys: string[]) =>
    Promise.all(keys.map(async (key) => (await textOf(store, key, ['m']))?.length))
  await keep('a', 40)
  await keep('b', 40)
  await keep('b', 50)
  t.strictSame(await weights('a', 'b'), [40, 50], 'what is replaced weighs nothing any more')
  await keep('c', 60)
  t.strictSame(await weights('a', 'b', 'c'), [undefined, undefined, 60])
  await keep('d', 101)
  t.strictSame(await weights('c', 'd'), [60, undefined], 'what is too heavy by itself drives nothing out')
})

t.test('a tag that was forgotten revives nothing', async (t) => {
  const store = new MemoryStore({ entries: 2 })
  const before = await look(store, 'key', ['tag'])
  await store.keep('key', 'old', before, LIFE)
  await store.outdate(['tag'])
  for (let n = 0; n < 20; n++) await look(store, 'other', [`other-${n}`])
  await store.keep('key', 'old', before, LIFE)
  t.equal(await textOf(store, 'key', ['tag']), undefined)
})

t.test('others must be told of what is outdated', async (t) => {
  const store = new MemoryStore()
  t.equal(store.shared, false)
  t.equal(await store.outdate(['tag']), false)
  await store.keep('key', 'a', await look(store, 'key', ['tag']), LIFE)
  await store.close()
  t.equal(await textOf(store, 'key', ['tag']), undefined)
})
