import { defineModule } from '../../platform/kit/module.ts'
import { posts } from '../posts/contract.ts'
import { users } from '../users/contract.ts'
import { notifications } from './contract.ts'
import { settings } from './settings.ts'

const { userCreated, userUpdated, userDeleted, passwordResetRequested } = users.events

export default defineModule(notifications, {
  subscribes: [userCreated, userUpdated, userDeleted, passwordResetRequested, posts.events.commentCreated],
  settings,
  plugin: () => import('./plugin.ts'),
})
