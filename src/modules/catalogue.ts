import type { Manifest } from '../platform/kit/module.ts'
import notifications from './notifications/module.ts'
import posts from './posts/module.ts'
import users from './users/module.ts'

/** All modules of the system. Adding one here is all that the platform needs to know of it. */
export const catalogue: readonly Manifest[] = [users, posts, notifications]
