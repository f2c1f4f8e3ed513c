import { hkdfSync, randomUUID } from 'node:crypto'
import { createSigner, createVerifier } from 'fast-jwt'
import { LruMap } from 'toad-cache'
import type { TSchema } from 'typebox'
import { type Static, Type } from 'typebox'
import { Identity } from '../../kit/permissions.ts'
import { codecOf, deepFreeze } from '../codec.ts'

/** How long a user's bearer token is good for, in seconds: 1 h. */
export const USER_TOKEN_LIFETIME = 3600
/** How long a token between processes is good for, in seconds. It covers one call; clocks may differ by half of it. */
export const INTERNAL_TOKEN_LIFETIME = 60

/** A key of its own for each purpose, so that what was made for one is worthless for another (RFC 5869). */
export function keyFor(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'seam', purpose, 32))
}

/** Makes and checks the tokens of one kind: JWT, HS256, bound to an audience. */
export interface Tokens<T> {
  /** For internal tokens, the same claims get the same token for half of its life. */
  sign(audience: string, claims: T): string
  /** The claims, or undefined when the token is forged, expired, for another audience or not a token at all. */
  verify(audience: string, token: string): T | undefined
}

/** How far the clocks of two machines may differ, in milliseconds. */
const TOLERANCE = 5_000
/** How many tokens are remembered, to be neither signed nor verified again. */
const REMEMBERED = 1_000

function tokens<T>(
  secret: string,
  options: {
    purpose: string
    lifetime: number
    shape: TSchema
    /** Tells any claims from all others, where the same ones get the same token; JSON takes twice the time. */
    nameOf?: (claims: T) => string
  },
): Tokens<T> {
  const key = keyFor(secret, options.purpose)
  const sign = createSigner({ key, algorithm: 'HS256', expiresIn: options.lifetime * 1000 })
  const verifiers = new Map<string, (token: string) => { claims?: unknown; exp: number }>()
  const codec = codecOf(options.shape)
  const signed = new LruMap<string>(REMEMBERED, (options.lifetime * 1000) / 2)
  const verified = new LruMap<{ claims: T; until: number }>(REMEMBERED)

  const verifierFor = (audience: string) => {
    let verify = verifiers.get(audience)
    if (!verify) {
      verify = createVerifier({
        key,
        algorithms: ['HS256'],
        allowedAud: [audience],
        requiredClaims: ['exp', 'aud'],
        clockTolerance: TOLERANCE,
      })
      verifiers.set(audience, verify)
    }
    return verify
  }

  return {
    sign(audience, claims) {
      if (!options.nameOf) return sign({ aud: audience, jti: randomUUID(), claims })
      const what = `${audience} ${options.nameOf(claims)}`
      let token = signed.get(what)
      if (!token) signed.set(what, (token = sign({ aud: audience, jti: randomUUID(), claims })))
      return token
    },
    verify(audience, token) {
      const what = `${audience} ${token}`
      const known = verified.get(what)
      if (known && Date.now() < known.until) return known.claims
      try {
        const { claims, exp } = verifierFor(audience)(token)
        if (!codec.check(claims)) return undefined
        verified.set(what, { claims: deepFreeze(claims) as T, until: exp * 1000 + TOLERANCE })
        return claims as T
      } catch {
        verified.delete(what)
        return undefined
      }
    },
  }
}

/** A token is worth something only as long as its session is there, which also knows the user's roles. */
const User = Type.Object({ userId: Type.String({ format: 'uuid' }), sessionId: Type.String({ format: 'uuid' }) })
const Service = Type.Object({ caller: Type.String() })
const Vouched = Type.Object({ identity: Type.Union([Identity, Type.Null()]) })

/** All kinds of tokens of the system, each under its own key. */
export interface SystemTokens {
  /** What a signed-in user carries; the audience is `api`. */
  user: Tokens<Static<typeof User>>
  /** Which module is calling; the audience is the called module. */
  service: Tokens<{ caller: string }>
  /** Who the user is, in the word of the process that verified them; the audience is the module that is told. */
  identity: Tokens<{ identity: Identity | null }>
}

/** @param secret `SECRET`: the same in every process of the system */
export function systemTokens(secret: string): SystemTokens {
  return {
    user: tokens(secret, { purpose: 'user token', lifetime: USER_TOKEN_LIFETIME, shape: User }),
    service: tokens(secret, {
      purpose: 'service token',
      lifetime: INTERNAL_TOKEN_LIFETIME,
      shape: Service,
      nameOf: ({ caller }) => caller,
    }),
    identity: tokens(secret, {
      purpose: 'identity token',
      lifetime: INTERNAL_TOKEN_LIFETIME,
      shape: Vouched,
      nameOf: ({ identity }) =>
        identity ? `${identity.userId} ${identity.sessionId} ${identity.roles} ${identity.wroteAt}` : '',
    }),
  }
}
