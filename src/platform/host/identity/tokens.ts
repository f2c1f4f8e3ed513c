import { hkdfSync, randomUUID } from 'node:crypto'
import { createSigner, createVerifier } from 'fast-jwt'
import type { TSchema } from 'typebox'
import { Type } from 'typebox'
import { Identity } from '../../kit/permissions.ts'
import { codecOf } from '../codec.ts'

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
  sign(audience: string, claims: T): string
  /** The claims, or undefined when the token is forged, expired, for another audience or not a token at all. */
  verify(audience: string, token: string): T | undefined
}

function tokens<T>(secret: string, purpose: string, lifetime: number, shape: TSchema): Tokens<T> {
  const key = keyFor(secret, purpose)
  const sign = createSigner({ key, algorithm: 'HS256', expiresIn: lifetime * 1000 })
  const verifiers = new Map<string, (token: string) => { claims?: unknown }>()
  const codec = codecOf(shape)
  return {
    sign: (audience, claims) => sign({ aud: audience, jti: randomUUID(), claims }),
    verify(audience, token) {
      let verify = verifiers.get(audience)
      if (!verify) {
        verify = createVerifier({
          key,
          algorithms: ['HS256'],
          allowedAud: [audience],
          requiredClaims: ['exp', 'aud'],
          clockTolerance: 5000,
          cache: 1000,
        })
        verifiers.set(audience, verify)
      }
      try {
        const { claims } = verify(token)
        return codec.check(claims) ? (claims as T) : undefined
      } catch {
        return undefined
      }
    },
  }
}

const Service = Type.Object({ caller: Type.String() })
const Vouched = Type.Object({ identity: Type.Union([Identity, Type.Null()]) })

/** All kinds of tokens of the system, each under its own key. */
export interface SystemTokens {
  /** What a signed-in user carries; the audience is `api`. */
  user: Tokens<Identity>
  /** Which module is calling; the audience is the called module. */
  service: Tokens<{ caller: string }>
  /** Who the user is, in the word of the process that verified them; the audience is the module that is told. */
  identity: Tokens<{ identity: Identity | null }>
}

/** @param secret `SECRET`: the same in every process of the system */
export function systemTokens(secret: string): SystemTokens {
  return {
    user: tokens(secret, 'user token', USER_TOKEN_LIFETIME, Identity),
    service: tokens(secret, 'service token', INTERNAL_TOKEN_LIFETIME, Service),
    identity: tokens(secret, 'identity token', INTERNAL_TOKEN_LIFETIME, Vouched),
  }
}

/** Signs a token again only when half of its life is over, for claims that do not change between calls. */
export function reused(sign: () => string): () => string {
  let token = ''
  let until = 0
  return () => {
    const now = Date.now()
    if (now >= until) {
      token = sign()
      until = now + (INTERNAL_TOKEN_LIFETIME * 1000) / 2
    }
    return token
  }
}
