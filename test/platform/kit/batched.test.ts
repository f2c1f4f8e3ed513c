import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { batched } from '../../../src/platform/kit/batched.ts'

const reader = (fault?: Error) => {
  const readings: string[][] = []
  const read = batched(async (keys) => {
    readings.push([...keys])
    if (fault) throw fault
    return new Map(keys.filter((key) => key !== 'none').map((key) => [key, `the value of ${key}`]))
  })
  return { read, readings }
}

t.test('what is asked for in one turn of the event loop is read together, and each gets their own', async (t) => {
  const { read, readings } = reader()
  const values = await Promise.all(['a', 'none', 'b', 'a'].map((key) => read(key)))
  t.strictSame(values, ['the value of a', undefined, 'the value of b', 'the value of a'])
  t.strictSame(readings, [['a', 'none', 'b', 'a']])
})

t.test('nothing is kept: who asks later gets what is there then', async (t) => {
  const { read, readings } = reader()
  await read('a')
  await turn()
  await read('a')
  t.strictSame(readings, [['a'], ['a']])
})

t.test('at most a hundred are read at once', async (t) => {
  const { read, readings } = reader()
  await Promise.all(Array.from({ length: 250 }, (_, n) => read(`${n}`)))
  t.strictSame(
    readings.map(({ length }) => length),
    [100, 100, 50],
  )
})

t.test('a reading that fails fails for all who share it, and for nobody later', async (t) => {
  const fault = new Error('no connection')
  const { read } = reader(fault)
  const results = await Promise.allSettled(['a', 'b'].map((key) => read(key)))
  t.strictSame(
    results.map((result) => result.status === 'rejected' && result.reason),
    [fault, fault],
  )
  await t.rejects(read('a'), fault)
})

t.test('what is read for many belongs to none of them', async (t) => {
  const request = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const read = batched(async (keys) => {
    seen.push(request.getStore())
    return new Map(keys.map((key) => [key, key]))
  })
  const mine = await request.run('mine', async () => [await read('a'), request.getStore()])
  t.strictSame([mine, seen], [['a', 'mine'], [undefined]])
})
