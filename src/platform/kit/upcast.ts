import type { Static, TSchema } from 'typebox'

/** What an earlier version of an event was like, and how it becomes the next one. */
export interface Upcast {
  readonly data: TSchema
  next(data: never): unknown
}

/**
 * Says how the data of an earlier version of an event become those of the version after it, for events that were published
 * before, or by processes of the previous release.
 *
 * @example event('user.created', { version: 2, upcasts: { 1: upcast(UserCreated1, (old) => ({ ...old, locale: 'en' })) }, … })
 */
export function upcast<D extends TSchema>(data: D, next: (data: Static<D>) => unknown): Upcast {
  return { data, next }
}
