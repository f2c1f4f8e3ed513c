import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { Forbidden, Unauthenticated } from '../../../src/platform/kit/errors.ts'
import {
  type Allow,
  ensureAllowed,
  ensureOwner,
  has,
  type Identity,
  type Permission,
  type Role,
  userOf,
} from '../../../src/platform/kit/permissions.ts'

const ROLES: Role[] = ['member', 'moderator', 'admin']
const roles = fc.uniqueArray(fc.constantFrom(...ROLES))
const permissions: fc.Arbitrary<Permission> = roles.map((roles) => ({ name: 'x.y', roles }))
const identities: fc.Arbitrary<Identity> = roles.map((roles) => ({
  userId: randomUUID(),
  roles,
  sessionId: randomUUID(),
}))
const callers = fc.option(identities)

/** `undefined`: it passes. */
function refusal(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return (error as Error).constructor
  }
}
const ask = (allow: Allow, identity: Identity | null, ownerId: string) => {
  const request = { identity, ownerKnown: false, routeOptions: { config: { allow } } } as unknown as FastifyRequest
  const refused = refusal(() => ensureOwner(request, ownerId))
  return { refused, known: request.ownerKnown }
}

t.test('a permission is had by who has one of its roles', async () => {
  fc.assert(
    fc.property(callers, permissions, (caller, permission) => {
      const expected = ROLES.some((role) => caller?.roles.includes(role) && permission.roles.includes(role))
      return has(caller, permission) === expected
    }),
  )
})

t.test('before a route runs: anyone, users, those with its permission; owners as far as they are users', async () => {
  fc.assert(
    fc.property(callers, permissions, (caller, permission) => {
      if (refusal(() => ensureAllowed('anyone', caller))) return false
      const expected = caller ? undefined : Unauthenticated
      for (const allow of ['user', { owner: true }, { owner: true, permission }] as Allow[])
        if (refusal(() => ensureAllowed(allow, caller)) !== expected) return false
      const allowed = refusal(() => ensureAllowed({ permission }, caller))
      return allowed === (caller ? (has(caller, permission) ? undefined : Forbidden) : Unauthenticated)
    }),
  )
})

t.test('in a route that allows the owner: the owner, and who has the permission if it names one', async () => {
  fc.assert(
    fc.property(identities, fc.boolean(), permissions, fc.boolean(), (caller, own, permission, named) => {
      const { refused, known } = ask(
        { owner: true, ...(named && { permission }) },
        caller,
        own ? caller.userId : randomUUID(),
      )
      return known && refused === (own || (named && has(caller, permission)) ? undefined : Forbidden)
    }),
  )
})

t.test('asked where it has no place, or of nobody, it is a fault and not a refusal', async (t) => {
  const caller: Identity = { userId: randomUUID(), roles: ROLES, sessionId: randomUUID() }
  for (const allow of ['anyone', 'user', { permission: { name: 'x.y', roles: ROLES } }] as Allow[])
    t.strictSame(ask(allow, caller, caller.userId), { refused: TypeError, known: false })
  t.strictSame(ask({ owner: true }, null, caller.userId), { refused: TypeError, known: false })
  t.throws(() => userOf({ identity: null }), TypeError)
  t.equal(userOf({ identity: caller }), caller)
})
