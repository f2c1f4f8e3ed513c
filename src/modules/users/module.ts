import { defineModule } from '../../platform/kit/module.ts'
import { posts } from '../posts/contract.ts'
import { users } from './contract.ts'
import { settings } from './settings.ts'

export default defineModule(users, {
  subscribes: [posts.events.postCreated, posts.events.postDeleted],
  settings,
  signsIn: true,
  plugin: () => import('./plugin.ts'),
})
