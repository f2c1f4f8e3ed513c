import { Unavailable } from '../../kit/errors.ts'
import type { Discovery } from './discovery.ts'

/** Instances as the environment lists them (`USERS_URL=http://10.0.0.1:8000,http://10.0.0.2:8000`), taken in turn. */
export function staticDiscovery(urls: ReadonlyMap<string, readonly string[]>): Discovery {
  const turns = new Map<string, number>()
  return {
    pick(module) {
      const origins = urls.get(module) ?? []
      const turn = (turns.get(module) ?? -1) + 1
      turns.set(module, turn)
      const origin = origins[turn % origins.length]
      if (!origin) throw new Unavailable(module)
      return origin
    },
  }
}
