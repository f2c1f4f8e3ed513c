import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Identity, Role } from './permissions.ts'

/** A session as its user may see it. */
export interface SessionInfo {
  readonly id: string
  /** What the client called itself (`User-Agent`). */
  readonly device: string | null
  /** The address that it came from. */
  readonly address: string
  /** ISO 8601, UTC. */
  readonly createdAt: string
  /** ISO 8601, UTC; to the minute. */
  readonly lastUsedAt: string
}

/**
 * The sessions of the system, for the module that signs users in (`signsIn`). Who shows a session's cookie or a token of
 * it is signed in for as long as the session lasts: ending it ends both at once, in every process. What goes on after it has
 * asked who somebody is must ask again ({@link underWay}).
 */
export interface ModuleSessions {
  /** A bearer token for a session; `expiresIn` in seconds. Worth nothing until the session was started. */
  token(identity: Identity): { token: string; expiresIn: number }
  /**
   * Starts the session `identity.sessionId` (a new UUIDv7), or makes one that is there last longer, and sets its cookie.
   * To do it again does no harm.
   *
   * @throws {Unavailable} when sessions cannot be kept at the moment
   */
  start(request: FastifyRequest, identity: Identity): Promise<void>
  /** Ends the caller's own session and takes their cookie back. */
  stop(request: FastifyRequest, reply: FastifyReply): Promise<void>
  list(userId: string): Promise<SessionInfo[]>
  /** Those of these sessions that have not ended; for every module. */
  underWay(sessionIds: readonly string[]): Promise<ReadonlySet<string>>
  /** @returns false when the user has no such session */
  end(userId: string, sessionId: string): Promise<boolean>
  /** Ends all sessions of a user, except one if it is named. */
  endAll(userId: string, except?: string): Promise<void>
  /** Lets a change of roles take effect in the sessions that are under way. */
  setRoles(userId: string, roles: readonly Role[]): Promise<void>
}
