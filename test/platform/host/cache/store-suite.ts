import fc from 'fast-check'
import type { Test } from 'tap'
import type { CacheStore, Look } from '../../../../src/platform/host/cache/store.ts'
import { until } from '../../../support/until.ts'

const LIFE = 60_000

/** A store that must answer. */
export async function look(store: CacheStore, key: string, tags: readonly string[]): Promise<Look> {
  const found = await store.look(key, tags)
  if (!found) throw new Error('The store did not answer.')
  return found
}

export const textOf = async (store: CacheStore, key: string, tags: readonly string[]) =>
  (await look(store, key, tags)).kept?.text

/** What every store must do. Each test has keys of its own. */
export function storeSuite(t: Test, store: CacheStore): void {
  t.test('what is kept is found until its time is over', async (t) => {
    const first = await look(store, 'life', ['life'])
    t.equal(first.kept, undefined)
    await store.keep('life', 'a', first, LIFE)
    const { kept } = await look(store, 'life', ['life'])
    t.equal(kept?.text, 'a')
    t.ok(kept!.left > LIFE - 5_000 && kept!.left <= LIFE, `${kept!.left} ms are left`)
    await store.keep('life', 'b', first, 50)
    await until('the end', async () => (await textOf(store, 'life', ['life'])) === undefined)
  })

  t.test('what is kept again takes the place of what was kept before', async (t) => {
    const found = await look(store, 'again', ['again'])
    await store.keep('again', 'a', found, LIFE)
    await store.keep('again', 'b', found, LIFE)
    t.equal(await textOf(store, 'again', ['again']), 'b')
  })

  t.test('any text is kept as it is', async (t) => {
    for (const text of ['', '\n', 'a\nb', '"ü 👩‍👩‍👧"', 'x'.repeat(1_000_000)]) {
      await store.keep('texts', text, await look(store, 'texts', ['texts']), LIFE)
      t.equal(await textOf(store, 'texts', ['texts']), text)
    }
  })

  t.test('when one of its tags is outdated it is not found any more, whichever it is', async (t) => {
    for (const tag of ['m', 'm:one', 'm:two']) {
      const tags = ['m', 'm:one', 'm:two']
      await store.keep('tags', 'a', await look(store, 'tags', tags), LIFE)
      await store.outdate(['other', 'm:on', 'one'])
      t.equal(await textOf(store, 'tags', tags), 'a', 'other tags are other tags')
      await store.outdate([tag])
      t.equal(await textOf(store, 'tags', tags), undefined, tag)
    }
  })

  t.test('what was asked for before a tag was outdated is not believed after it', async (t) => {
    const before = await look(store, 'race', ['race'])
    await store.outdate(['race'])
    await store.keep('race', 'old', before, LIFE)
    const after = await look(store, 'race', ['race'])
    t.equal(after.kept, undefined)
    t.not(after.versions, before.versions)
    await store.keep('race', 'new', after, LIFE)
    t.equal(await textOf(store, 'race', ['race']), 'new')
  })

  t.test('versions stay the same as long as nothing is outdated', async (t) => {
    const versions = new Set<string>()
    for (let n = 0; n < 5; n++) versions.add((await look(store, `same-${n}`, ['same', 'same:1'])).versions)
    const together = await Promise.all(Array.from({ length: 20 }, () => look(store, 'together', ['together'])))
    t.equal(versions.size, 1)
    t.equal(new Set(together.map(({ versions }) => versions)).size, 1, 'also for those who are the first to ask')
  })

  t.test('whatever happens in whatever order, only what is right is believed', async (t) => {
    const tags = ['p', 'p:1', 'p:2']
    const act = fc.record({
      what: fc.constantFrom('look', 'keep', 'keep', 'outdate'),
      of: fc.subarray(tags, { minLength: 1 }),
    })
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 30 }), async (acts) => {
        const key = `property-${++run}`
        // For each set of tags: what was seen last, and how often each tag had been outdated then.
        const seen = new Map<string, { look: Look; at: string }>()
        const outdated = new Map(tags.map((tag) => [tag, 0]))
        const now = (of: string[]) => of.map((tag) => outdated.get(tag)).join()
        const kept = new Map<string, { text: string; at: string }>()
        for (const [index, { what, of }] of acts.entries()) {
          const name = `${key} ${of}`
          if (what === 'outdate') {
            await store.outdate(of)
            for (const tag of of) outdated.set(tag, outdated.get(tag)! + 1)
          } else if (what === 'look') {
            const found = await look(store, name, of)
            const right = kept.get(name)?.at === now(of) ? kept.get(name)!.text : undefined
            if (found.kept?.text !== right) throw new Error(`${found.kept?.text} and not ${right}`)
            seen.set(name, { look: found, at: now(of) })
          } else {
            const before = seen.get(name)
            if (!before) continue
            await store.keep(name, `text-${index}`, before.look, LIFE)
            kept.set(name, { text: `text-${index}`, at: before.at })
          }
        }
      }),
      { numRuns: 40 },
    )
    t.pass(`${run} sequences`)
  })
}
