import { Type } from 'typebox'
import { defineContract, query } from '../../src/platform/kit/contract.ts'
import { Id } from '../../src/platform/kit/pages.ts'

/** The call that all contenders make: the shape of `users.getUser`, with a handler that returns a constant. */
export const example = defineContract('example', {
  procedures: {
    getUser: query({
      input: Type.Object({ id: Id }),
      output: Type.Object({ id: Id, firstName: Type.String(), lastName: Type.String(), postCount: Type.Integer() }),
    }),
  },
})

export const INPUT = { id: '0198c0de-0000-7000-8000-000000000001' }
const USER = { id: INPUT.id, firstName: 'Ada', lastName: 'Lovelace', postCount: 7 }

export const getUser = async (_input: { id: string }): Promise<typeof USER> => USER
