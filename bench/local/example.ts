import { Type } from 'typebox'
import { defineContract, query } from '../../src/platform/kit/contract.ts'

/** The call that all contenders make: a small input, checked, and a handler that returns a constant object. */
export const example = defineContract('example', {
  procedures: {
    getUser: query({
      input: Type.Object({ id: Type.String({ maxLength: 64 }) }),
      output: Type.Object({ id: Type.String(), name: Type.String() }),
    }),
  },
})

export const INPUT = { id: '0198c0de-0000-7000-8000-000000000001' }
const USER = { id: INPUT.id, name: 'Ada Lovelace' }

export const getUser = async (_input: { id: string }): Promise<typeof USER> => USER
