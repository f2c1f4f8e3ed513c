import t from 'tap'
import { judgeTurns } from './verdict.ts'

const turns = (...versions: number[]) => versions.map((version) => ({ version, name: `v${version - 1}` }))

t.test('events of which each was handled once, in their order, are as they should be', async (t) => {
  t.strictSame(judgeTurns('a', turns(1, 2, 3), 3), [])
})

t.test('what was lost, doubled or out of order is said', async (t) => {
  t.strictSame(judgeTurns('a', turns(1, 3), 3), ['lost: event 2 of a'])
  t.strictSame(judgeTurns('a', [], 1), ['lost: event 1 of a'])
  t.strictSame(judgeTurns('a', turns(1, 2, 2), 2), ['doubled: event 2 of a'])
  t.strictSame(judgeTurns('a', turns(1, 2, 3, 1), 3), ['doubled: event 1 of a'])
  t.strictSame(judgeTurns('a', turns(1, 3, 2), 3), ['out of order: event 2 of a after event 3'])
  t.strictSame(judgeTurns('a', turns(2, 1), 3), ['out of order: event 1 of a after event 2', 'lost: event 3 of a'])
})

t.test('events that nobody published, or whose numbers are not in the order of their commits, are told', async (t) => {
  t.strictSame(judgeTurns('a', turns(1, 2), 1), ['not published: event 2 of a'])
  const swapped = [turns(1)[0]!, { version: 2, name: 'v2' }, { version: 3, name: 'v1' }]
  t.strictSame(judgeTurns('a', swapped, 3), [
    'numbered otherwise than committed: event 2 of a says v2',
    'numbered otherwise than committed: event 3 of a says v1',
  ])
})
