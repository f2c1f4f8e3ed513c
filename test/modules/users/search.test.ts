import fc from 'fast-check'
import t from 'tap'
import { beginsWith, searchable } from '../../../src/modules/users/search.ts'
import { newId } from '../../../src/platform/kit/tables.ts'
import { startUsers } from './start.ts'

t.test('words are searched for without case, accents and signs', async (t) => {
  t.equal(
    searchable({ firstName: 'Zoë', lastName: "O'Neil-ÅNGSTRÖM", email: 'z.oneil+x@mail.example.com' }),
    "'zoe' 'o' 'neil' 'angstrom' 'z' 'oneil' 'x' 'mail' 'example' 'com'",
  )
  t.equal(searchable({ firstName: '王', lastName: 'Ж2', email: 'a@b.c' }), "'王' 'ж2' 'a' 'b' 'c'")
  t.equal(beginsWith(" LOV  ada:* & ' | \\ "), "'lov':* & 'ada':*")
})

t.test('in a database', async (t) => {
  const { api, sql } = await startUsers(t)
  const admin = await api.admin()
  const insert = (users: { id: string; firstName: string; lastName: string }[]) =>
    sql`insert into users.users ${sql(
      users.map(({ id, firstName, lastName }) => {
        const email = `${id}@example.com`
        const search = searchable({ firstName, lastName, email })
        return { id, email, first_name: firstName, last_name: lastName, password_hash: '', roles: ['member'], search }
      }),
    )}`

  await t.test('whatever the words are, a user is found by the beginning of each', async (t) => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
      .filter((text) => !text.includes('\0') && /[\p{L}\p{N}]/u.test(text))
    const checked = fc.assert(
      fc.asyncProperty(name, name, fc.nat(20), async (firstName, lastName, length) => {
        const id = newId()
        await insert([{ id, firstName, lastName }])
        const word = [...lastName.normalize('NFKD')].slice(0, length + 1).join('')
        const query = `${firstName} ${word} ${id}`.slice(0, 100)
        const answer = await api.get(`/api/users?q=${encodeURIComponent(query)}&limit=1`, admin)
        return answer.status === 200 && answer.body.data[0]?.id === id
      }),
      { numRuns: 50 },
    )
    await t.resolves(checked)
  })

  await t.test('pages stay right while users come and go', async (t) => {
    const steps = fc.array(fc.record({ come: fc.nat(3), go: fc.array(fc.nat(30), { maxLength: 3 }) }), {
      maxLength: 12,
    })
    const checked = fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 1, max: 5 }),
        steps,
        async (first, limit, meanwhile) => {
          const mark = `m${newId().replaceAll('-', '')}`
          const there: string[] = []
          const come = async (count: number) => {
            const made = Array.from({ length: count }, () => ({ id: newId(), firstName: mark, lastName: 'X' }))
            if (count > 0) await insert(made)
            there.push(...made.map(({ id }) => id))
          }
          await come(first)
          const always = new Set(there)
          const seen: string[] = []
          let cursor: string | null = ''
          for (let turn = 0; cursor !== null; turn++) {
            const answer = await api.get(`/api/users?q=${mark}&limit=${limit}${cursor && `&cursor=${cursor}`}`, admin)
            seen.push(...answer.body.data.map(({ id }: { id: string }) => id))
            cursor = answer.body.page.next
            const { come: more, go } = meanwhile[turn] ?? { come: 0, go: [] }
            await come(more)
            const gone = go.flatMap((index) => there[index] ?? [])
            await sql`delete from users.users where id = any(${gone}::uuid[])`
            for (const id of gone) always.delete(id)
          }
          const downwards = seen.every((id, index) => index === 0 || id < seen[index - 1]!)
          return downwards && [...always].every((id) => seen.includes(id))
        },
      ),
      { numRuns: 40 },
    )
    await t.resolves(checked)
  })

  await t.test('of ten thousand, an index finds those who are looked for', async (t) => {
    await sql`
      insert into users.users (id, email, password_hash, first_name, last_name, roles, search)
      select overlay(gen_random_uuid()::text placing '0190' from 1 for 4)::uuid, n || '@example.com', '', 'N' || n, 'Common',
        array['member'], array_to_tsvector(array['n' || n, 'common', 'example', 'com'])
      from generate_series(1, 10000) n`
    await sql`analyze users.users`
    const scansOf = async (where: string) => {
      const [row] = await sql.unsafe(
        `explain (analyze, format json) select id from users.users where ${where} order by id desc limit 21`,
      )
      return [...JSON.stringify(row).matchAll(/"Node Type":"([^"]*Scan)"/g)].map(([, node]) => node).sort()
    }
    const query = (text: string) => `$$${beginsWith(text)}$$::tsquery`
    const looked = {
      'a rare word': `search @@ ${query('n123')}`,
      'a word that all have': `search @@ ${query('com')}`,
      'two words and a role': `search @@ ${query('n5 com')} and roles @> array['member']`,
      'a role': `roles @> array['admin']`,
      'a page': `id < '0190f000-0000-7000-8000-000000000000'`,
    }
    for (const [what, where] of Object.entries(looked)) {
      const scans = await scansOf(where)
      t.ok(scans.length > 0 && !scans.includes('Seq Scan'), `${what}: ${scans.join(', ')}`)
    }
    t.equal((await api.get('/api/users?q=n12345', admin)).body.data.length, 0)
    t.equal((await api.get('/api/users?q=n1234&role=member', admin)).body.data.length, 1)
  })
})
