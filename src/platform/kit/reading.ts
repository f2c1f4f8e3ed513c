import { AsyncLocalStorage } from 'node:async_hooks'

/** Where a request may read: the host puts a replica there, and takes it away when the request has written or is over. */
export interface Reading {
  from: object | undefined
}

/** For the host and for what the kit does at once for several requests; modules need not know of it. */
export const reading = new AsyncLocalStorage<Reading>()
