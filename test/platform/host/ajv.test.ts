import t from 'tap'
import { createAjv } from '../../../src/platform/host/ajv.ts'

t.test('a UUID has the one form that databases take', async (t) => {
  const isUuid = createAjv().compile({ type: 'string', format: 'uuid' })
  const good = '0198c0de-00aF-7000-8000-00000000abCD'
  t.ok(isUuid(good))
  t.ok(isUuid(good.toUpperCase()))
  t.ok(isUuid('ffffffff-ffff-ffff-ffff-ffffffffffff'))
  for (let i = 0; i < good.length; i++) {
    for (const other of ['g', 'G', '/', ':', '@', '`', '-', 'é', '0']) {
      if (other === '-' ? good[i] === '-' : other === '0' && good[i] !== '-') continue
      const bad = good.slice(0, i) + other + good.slice(i + 1)
      t.notOk(isUuid(bad), bad)
    }
  }
  for (const bad of [
    '',
    good.slice(1),
    `${good}0`,
    `${good}\n`,
    ` ${good}`,
    `urn:uuid:${good}`,
    `{${good}}`,
    good.replaceAll('-', ''),
  ])
    t.notOk(isUuid(bad), JSON.stringify(bad))
})
