import { AsyncLocalStorage } from 'node:async_hooks'
import { codecOf } from '../../src/platform/host/codec.ts'
import { Type } from 'typebox'
const N = 2_000_000
const t = (name: string, f: () => unknown) => {
  let s: unknown
  for (let r = 0; r < 3; r++) { const a = process.hrtime.bigint(); for (let i = 0; i < N; i++) s = f(); const b = process.hrtime.bigint(); if (r===2) console.log(name.padEnd(40), (Number(b - a) / N).toFixed(1)) }
  return s
}
const als = new AsyncLocalStorage<object>()
const id = '0198c0de-0000-7000-8000-000000000001'
const u = codecOf(Type.Object({ id: Type.String({ format: 'uuid' }) }))
const p = codecOf(Type.Object({ id: Type.String() }))
const input = { id }
t('nothing', () => 1)
t('performance.now', () => performance.now())
t('Date.now', () => Date.now())
t('hrtime', () => process.hrtime())
t('check uuid', () => u.check(input))
t('check string', () => p.check(input))
const set = new Set<object>()
t('Set add+delete new object', () => { const o = {}; set.add(o); set.delete(o) })
t('closure waiter', () => ({ expire: () => input }))
als.run({}, () => { t('als.getStore', () => als.getStore()) })
t('als.run', () => als.run(input, () => 1))
t('new Promise', () => new Promise((r) => r(1)))
t('Promise.resolve', () => Promise.resolve(1))
const T = () => { const x = setTimeout(() => {}, 10000); x.unref(); clearTimeout(x) }
t('setTimeout+unref+clear', T)
t('randomUUID', () => crypto.randomUUID())
