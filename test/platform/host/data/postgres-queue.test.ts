// patches/postgres+3.4.9.patch replaces the queue of postgres.js, which slows down as it is used. These tests fail
// without it.
import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'

interface Queue<T> {
  readonly length: number
  push(x: T): T
  shift(): T | undefined
  remove(x: T): T | null
}
type NewQueue = <T>(initial?: T[]) => Queue<T>

const require = createRequire(import.meta.url)
const cjs = require.resolve('postgres').replace(/(cjs\/)?src\/index\.js$/, 'cjs/src/queue.js')
const esm = cjs.replace('cjs/src', 'src')

const builds: [string, NewQueue][] = [
  ['import', (await import(esm)).default],
  ['require', require(cjs)],
]

for (const [build, newQueue] of builds) {
  t.test(`the queue behind ${build}() keeps the order in which elements came`, async (t) => {
    const queue = newQueue(['a', 'b'])
    t.equal(queue.push('c'), 'c')
    t.equal(queue.length, 3)
    t.same([queue.shift(), queue.shift(), queue.shift()], ['a', 'b', 'c'])
    t.equal(queue.shift(), undefined)
    t.equal(queue.length, 0)
    queue.push('d')
    t.equal(queue.shift(), 'd', 'it can be used again after it was empty')
  })

  t.test(`the queue behind ${build}() gives up elements at its start, middle and end`, async (t) => {
    const queue = newQueue(['a', 'b', 'c', 'd', 'e'])
    t.equal(queue.remove('c'), 'c')
    t.equal(queue.remove('c'), null)
    t.equal(queue.remove('a'), 'a')
    t.equal(queue.remove('e'), 'e')
    t.equal(queue.length, 2)
    queue.push('c')
    t.same([queue.shift(), queue.shift(), queue.shift(), queue.shift()], ['b', 'd', 'c', undefined])
    t.equal(queue.remove('b'), null)
  })

  t.test(`the queue behind ${build}() behaves as an array would, whatever is done to it`, async (t) => {
    const queue = newQueue<number>()
    let model: number[] = []
    let random = 1
    for (let i = 0; i < 20_000; i++) {
      random = (random * 48271) % 2147483647
      const x = random % 50
      if (random % 7 < 3) {
        if (!model.includes(x)) model.push(queue.push(x))
      } else if (random % 7 < 5) {
        if (queue.shift() !== model.shift()) t.fail(`shift differs at step ${i}`)
      } else {
        const expected = model.includes(x) ? x : null
        model = model.filter((y) => y !== x)
        if (queue.remove(x) !== expected) t.fail(`remove differs at step ${i}`)
      }
      if (queue.length !== model.length) t.fail(`length differs at step ${i}`)
    }
    t.ok(model.length > 0)
  })

  t.test(`the queue behind ${build}() keeps no room for what has passed through it`, async (t) => {
    const queue = newQueue<object>([{}])
    const before = heapInUse()
    for (let i = 0; i < 2_000_000; i++) {
      queue.push({})
      queue.shift()
    }
    const grown = heapInUse() - before
    t.equal(queue.length, 1)
    t.ok(grown < 4_000_000, `the heap grew by ${grown} bytes`)
  })

  t.test(`the queue behind ${build}() removes as quickly after long use as at first`, async (t) => {
    const queue = newQueue<object>([{}])
    for (let i = 0; i < 200_000; i++) {
      queue.push({})
      queue.shift()
    }
    // The unpatched queue searches every place that was ever taken: this took it 11 seconds.
    const connections = Array.from({ length: 16 }, () => queue.push({}))
    const start = performance.now()
    for (let i = 0; i < 200_000; i++) {
      const connection = connections[i % connections.length]!
      queue.remove(connection)
      queue.push(connection)
    }
    const milliseconds = performance.now() - start
    t.ok(milliseconds < 2000, `200,000 moves took ${milliseconds.toFixed()} ms`)
    t.equal(queue.length, 17)
  })

  t.test(`the queue behind ${build}() is as quick with many elements as with few`, async (t) => {
    const queue = newQueue<object>(Array.from({ length: 100_000 }, () => ({})))
    const start = performance.now()
    for (let i = 0; i < 200_000; i++) {
      queue.push({})
      queue.shift()
    }
    const milliseconds = performance.now() - start
    t.ok(milliseconds < 2000, `200,000 cycles took ${milliseconds.toFixed()} ms`)
  })
}

function heapInUse(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
