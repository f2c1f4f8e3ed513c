import { createECDH, type ECDH, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import type { Endpoint, ReceivedRequest } from './endpoint.ts'

// It comes with web-push, and has no types.
const ece = createRequire(import.meta.resolve('web-push'))('http_ece') as {
  decrypt(content: Buffer, options: { version: string; privateKey: ECDH; authSecret: string }): Buffer
}

let browsers = 0

/** A browser that has subscribed at a push service, which an {@link Endpoint} plays. */
export interface Browser {
  /** What `PushSubscription.toJSON()` gives. */
  subscription: { endpoint: string; expirationTime: null; keys: { p256dh: string; auth: string } }
  /** The path of its endpoint. */
  path: string
  /** What the push service got for it. */
  received(): ReceivedRequest[]
  /** What it shows for what it got. */
  shown(): unknown[]
}

export function browserAt(service: Endpoint): Browser {
  const curve = createECDH('prime256v1')
  const p256dh = curve.generateKeys('base64url')
  const auth = randomBytes(16).toString('base64url')
  const path = `/send/${++browsers}`
  const received = () => service.received.filter((request) => request.path === path)
  const shown = ({ body }: ReceivedRequest) =>
    JSON.parse(String(ece.decrypt(body, { version: 'aes128gcm', privateKey: curve, authSecret: auth })))
  return {
    subscription: { endpoint: service.url + path, expirationTime: null, keys: { p256dh, auth } },
    path,
    received,
    shown: () => received().map(shown),
  }
}
