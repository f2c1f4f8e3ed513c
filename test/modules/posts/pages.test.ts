import fc from 'fast-check'
import t from 'tap'
import { type Answer, connect, type User } from '../../api/client.ts'
import { startTopology } from '../../support/topology.ts'

/** What happens between two pages. */
type Step = { kind: 'add' } | { kind: 'remove'; which: number } | { kind: 'turn' }

const steps = fc.array(
  fc.oneof(
    fc.constant<Step>({ kind: 'add' }),
    fc.record<Step & { kind: 'remove' }>({ kind: fc.constant('remove'), which: fc.nat() }),
    fc.constant<Step>({ kind: 'turn' }),
  ),
  { maxLength: 14 },
)

t.setTimeout(240_000)
t.test(
  'whatever is added and removed meanwhile, pages have all that was there throughout, once and in order',
  async (t) => {
    const topology = await startTopology()
    t.teardown(() => topology.close())
    const api = connect(t, { url: topology.url, operate: topology.operate, smtp: undefined as never, secret: '' })
    const ada = await api.register('Ada')
    let run = 0

    /** Walks through a list of what `add` makes, and does the steps on the way. */
    const check = async (
      list: string,
      add: () => Promise<string>,
      remove: (id: string) => Promise<unknown>,
      all: Step[],
      limit: number,
    ) => {
      const existing: string[] = []
      const throughout = new Set<string>()
      for (let n = 0; n < 4; n++) existing.push(await add())
      for (const id of existing) throughout.add(id)
      const seen: string[] = []
      let next: string | null = ''
      const turn = async () => {
        if (next === null) return
        const answer: Answer = await api.get(`${list}limit=${limit}${next && `&cursor=${next}`}`)
        if (answer.status !== 200) throw new Error(answer.text)
        seen.push(...answer.body.data.map(({ id }: { id: string }) => id))
        next = answer.body.page.next
      }
      for (const step of all) {
        if (step.kind === 'turn') await turn()
        else if (step.kind === 'add') existing.push(await add())
        else if (existing.length > 0) {
          const [id] = existing.splice(step.which % existing.length, 1)
          await remove(id!)
          throughout.delete(id!)
        }
      }
      while (next !== null) await turn()
      if (new Set(seen).size !== seen.length) throw new Error('Something came twice.')
      for (const id of throughout) if (!seen.includes(id)) throw new Error('Something was left out.')
      return seen
    }
    const holds = (walk: (all: Step[], limit: number) => Promise<void>) =>
      fc.assert(fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), walk), {
        numRuns: 12,
        interruptAfterTimeLimit: 10_000,
      })

    const write = async (user: User, json: object): Promise<string> => {
      const answer = await api.post('/api/posts', { title: 'T', content: 'C', ...json }, user)
      return answer.body.data.id
    }
    const removePost = (id: string) => api.send('DELETE', `/api/posts/${id}`, ada)
    const ordered = (seen: string[], order: string[]) => {
      if (seen.join() !== order.join()) throw new Error('They come in another order.')
    }

    await t.test('by tag', () =>
      holds(async (all, limit) => {
        const tag = `walk${++run}`
        const seen = await check(`/api/posts?tag=${tag}&`, () => write(ada, { tags: [tag] }), removePost, all, limit)
        ordered(seen, seen.toSorted().reverse())
      }),
    )
    await t.test('of a search, where many are equally good', () =>
      holds(async (all, limit) => {
        const word = `quest${++run}`
        let n = 0
        const add = () => write(ada, { content: `${word} `.repeat(1 + (++n % 3)) })
        await check(`/api/posts?q=${word}&`, add, removePost, all, limit)
      }),
    )
    await t.test('of comments', () =>
      holds(async (all, limit) => {
        const path = `/api/posts/${await write(ada, {})}/comments`
        const add = async () => (await api.post(path, { content: 'C' }, ada)).body.data.id
        const remove = (id: string) => api.send('DELETE', `/api/comments/${id}`, ada)
        const seen = await check(`${path}?`, add, remove, all, limit)
        ordered(seen, seen.toSorted())
      }),
    )
  },
)
