import { defineContract } from '../../platform/kit/contract.ts'

export const notifications = defineContract('notifications', {
  routes: ['/api/notifications', '/api/email', '/api/sms', '/api/push'],
  errors: {
    NotificationNotFound: { status: 404, message: 'There is no such notification.' },
    EmailNotFound: { status: 404, message: 'There is no such mail.' },
    SmsNotFound: { status: 404, message: 'There is no such text message.' },
    SubscriptionNotFound: { status: 404, message: 'There is no such subscription.' },
    RecipientUnknown: { status: 409, message: 'Nothing is known of this user, or not where to send it.' },
    TooManySubscriptions: { status: 409, message: 'This user has as many subscriptions as one may have.' },
    TooManyStreams: { status: 429, message: 'This user has as many open streams as one may have.' },
    NoRoomForStreams: { status: 503, message: 'As many streams are open as can be served at the moment.' },
  },
  permissions: {
    sendEmail: ['admin'],
    sendSms: ['admin'],
  },
})
