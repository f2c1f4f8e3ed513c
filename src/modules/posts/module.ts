import { defineModule } from '../../platform/kit/module.ts'
import { users } from '../users/contract.ts'
import { posts } from './contract.ts'

export default defineModule(posts, {
  uses: [users],
  subscribes: [users.events.userCreated, users.events.userUpdated, users.events.userDeleted],
  plugin: () => import('./plugin.ts'),
})
