import { defineModule } from '../../platform/kit/module.ts'
import { users } from '../users/contract.ts'
import { notifications } from './contract.ts'
import { settings } from './settings.ts'

export default defineModule(notifications, {
  subscribes: [users.events.userCreated],
  settings,
  plugin: () => import('./plugin.ts'),
})
