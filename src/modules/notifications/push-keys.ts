import { createECDH } from 'node:crypto'
import type { ModuleApp } from '../../platform/kit/module.ts'
import type { notifications } from './contract.ts'
import type { settings } from './settings.ts'
import { pushKeys } from './tables.ts'

/** The keys with which this system signs web push (VAPID), and whom push services may ask about it. */
export type PushKeys = () => Promise<{ subject: string; publicKey: string; privateKey: string }>

/**
 * The keys of the environment, else those of the database, which are made when they are first needed: browsers that have
 * subscribed with a key can be reached with that key only, so every process must have the same.
 *
 * @throws {Error} at once, when the environment has half a pair, or two halves of different pairs
 */
export function pushKeysOf(app: ModuleApp<typeof notifications, typeof settings>): PushKeys {
  const { VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: privateKey, VAPID_SUBJECT, MAIL_FROM } = app.settings
  const subject = VAPID_SUBJECT ?? `mailto:${/[^<\s]+@[^>\s]+/.exec(MAIL_FROM ?? '')?.[0]}`
  if (publicKey || privateKey) {
    if (!publicKey || !privateKey || publicKeyOf(privateKey) !== publicKey)
      throw new Error(
        'VAPID_PUBLIC_KEY and VAPID_PRIVATE_KEY must be a pair; `npx web-push generate-vapid-keys` makes one.',
      )
    return async () => ({ subject, publicKey, privateKey })
  }

  const select = () => app.db.select({ publicKey: pushKeys.publicKey, privateKey: pushKeys.privateKey }).from(pushKeys)
  const kept = async () => {
    const [found] = await select()
    if (found) return found
    const { default: webPush } = await import('web-push')
    await app.db.insert(pushKeys).values(webPush.generateVAPIDKeys()).onConflictDoNothing()
    const [made] = await select()
    return made!
  }
  let keys: ReturnType<typeof kept> | undefined
  return async () => {
    keys ??= kept().catch((error) => {
      keys = undefined
      throw error
    })
    return { subject, ...(await keys) }
  }
}

function publicKeyOf(privateKey: string): string {
  const curve = createECDH('prime256v1')
  curve.setPrivateKey(privateKey, 'base64url')
  return curve.getPublicKey('base64url')
}
