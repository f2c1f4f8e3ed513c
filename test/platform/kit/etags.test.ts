import fc from 'fast-check'
import type { FastifyReply, FastifyRequest } from 'fastify'
import t from 'tap'
import { PreconditionFailed } from '../../../src/platform/kit/errors.ts'
import { ensureMatch, etagOf, resource } from '../../../src/platform/kit/etags.ts'

const data = { id: 1 }

/** What comes of a request for a resource. */
function ask(etag: string, headers: Record<string, string>, method = 'GET') {
  const answer: { etag?: string; status: number; body?: unknown } = { status: 200 }
  const reply = {
    header: (_name: 'etag', value: string) => {
      answer.etag = value
      return reply
    },
    code: (status: number) => {
      answer.status = status
      return reply
    },
    send: () => undefined,
  }
  answer.body = resource({ method, headers } as unknown as FastifyRequest, reply as unknown as FastifyReply, data, etag)
  return answer
}

const matches = (etag: string, wanted: string | undefined) => {
  try {
    ensureMatch({ headers: { 'if-match': wanted } } as unknown as FastifyRequest, etag)
    return true
  } catch (error) {
    if (error instanceof PreconditionFailed && error.status === 412) return false
    throw error
  }
}

const KNOWN = ['"3-1"', 'W/"3-1"', '*', '"1", "3-1"', '"1",W/"3-1" ,"x"', '  "3-1"  ', '"a","b", *']
const OTHERS = ['"3"', '"3-10"', '3-1', '"3-1', '""', '', ',', 'W/', 'w/"3-1"', '"3-1"x', '"4-1", "3-2"']

t.test('an ETag is made of all the versions', async (t) => {
  t.equal(etagOf(3, 1), '"3-1"')
  t.equal(etagOf('7'), '"7"')
  t.not(etagOf(1, 11), etagOf(11, 1))
})

t.test('who knows the version is told so, in any form of the list, and who does not gets it', async (t) => {
  for (const method of ['GET', 'HEAD']) {
    for (const known of KNOWN)
      t.strictSame(
        ask('"3-1"', { 'if-none-match': known }, method),
        { status: 304, etag: '"3-1"', body: undefined },
        known,
      )
    for (const other of OTHERS)
      t.strictSame(
        ask('"3-1"', { 'if-none-match': other }, method),
        { status: 200, etag: '"3-1"', body: { data } },
        other,
      )
  }
  t.strictSame(ask('"3-1"', {}), { status: 200, etag: '"3-1"', body: { data } })
  for (const method of ['POST', 'PATCH', 'PUT'])
    t.equal(ask('"3-1"', { 'if-none-match': '"3-1"' }, method).status, 200, 'what was changed is always told')
})

t.test('a change passes for who has seen the version, or does not say', async (t) => {
  for (const known of [...KNOWN, undefined]) t.equal(matches('"3-1"', known), true, String(known))
  for (const other of OTHERS) t.equal(matches('"3-1"', other), false, other)
})

t.test('whatever the lists, the version is found in those that have it, and in no others', async () => {
  const version = fc.nat({ max: 99 })
  const weak = fc.constantFrom('', 'W/')
  fc.assert(
    fc.property(version, fc.array(fc.tuple(weak, version), { maxLength: 8 }), (own, listed) => {
      const header = listed.map(([mark, other]) => `${mark}${etagOf(other)}`).join(', ')
      const expected = listed.some(([, other]) => other === own)
      return (
        matches(etagOf(own), header) === expected &&
        (ask(etagOf(own), { 'if-none-match': header }).status === 304) === expected
      )
    }),
  )
})
