import { defineContract } from '../../platform/kit/contract.ts'

export const notifications = defineContract('notifications', {
  routes: ['/api/notifications', '/api/email', '/api/sms', '/api/push'],
})
