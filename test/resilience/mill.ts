import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import { type Client, command, defineContract, query } from '../../src/platform/kit/contract.ts'
import { Unavailable } from '../../src/platform/kit/errors.ts'
import { moduleOf } from '../platform/host/boot.ts'

const shape = { input: Type.Object({}), output: Type.Object({ pid: Type.Integer() }) }

/** A module that does as it is told, to see what becomes of its callers. */
export const mill = defineContract('mill', {
  routes: ['/api/mill'],
  procedures: { grind: query(shape), crush: command(shape) },
})
const bakery = defineContract('bakery', { routes: ['/api/bakery'] })

/** What an instance of the mill does with whatever it is asked: it answers after so many milliseconds, or it fails. */
export type Manner = number | 'fail'

/**
 * The mill, and the bakery that calls it.
 *
 * @param does.asked a request or a call has come to the mill; says how it is answered
 * @param does.met gets what the bakery calls the mill with
 */
export function catalogue(does: { asked?: () => Manner; met?: (client: Client<typeof mill>) => void } = {}) {
  const answer = async () => {
    const manner = does.asked?.() ?? 'fail'
    if (manner === 'fail') throw new Unavailable('mill')
    await sleep(manner)
    return { pid: process.pid }
  }
  return [
    moduleOf(mill, (app) => {
      app.implement({ grind: answer, crush: answer })
      app.get('/api/mill', { config: { allow: 'anyone' } }, answer)
    }),
    moduleOf(bakery, (app) => does.met?.(app.call(mill)), { uses: [mill] }),
  ]
}
