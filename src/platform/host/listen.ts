import type { FastifyInstance } from 'fastify'
import { BootError } from './boot-error.ts'
import { grpcPort } from './rpc/grpc/address.ts'
import type { GrpcServer } from './rpc/grpc/server.ts'
import { within } from './within.ts'

/**
 * Listens on a port.
 *
 * @param at.variable the variable that says which port
 * @returns the base URL
 * @throws {BootError} when it cannot be had, with another one to take
 */
export async function listenOn(
  server: FastifyInstance,
  { host, port, variable }: { host: string; port: number; variable: string },
): Promise<string> {
  try {
    return await server.listen({ host, port })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'EADDRINUSE' ? 'is in use already' : `cannot be listened on: ${message}`
    throw new BootError([`${host}:${port} ${reason}. Take another, as in ${variable}=${port + 1}`], { cause: error })
  }
}

/**
 * The same for gRPC: on the port that follows from the one for HTTP, unless `RPC_PORT` names another.
 *
 * @returns `host:port`
 */
export async function listenForGrpc(
  server: GrpcServer,
  { host, port, rpcPort }: { host: string; port: number; rpcPort: number | undefined },
): Promise<string> {
  const wanted = port === 0 && rpcPort === undefined ? 0 : grpcPort(port, rpcPort)
  try {
    return `${host}:${await server.listen(host, wanted)}`
  } catch (error) {
    const reason = `cannot be listened on for gRPC: ${(error as Error).message}`
    throw new BootError([`${host}:${wanted} ${reason}. Take another, as in RPC_PORT=${wanted + 1}`], { cause: error })
  }
}

/** A URL does not show the port that its scheme has anyway. */
export const portOf = (url: string): number => Number(new URL(url).port) || 80

/**
 * Requests under way may end; then connections are cut, also those that never finish what they began to send.
 *
 * @param patience how long they may take, in milliseconds
 */
export async function closeServer(server: FastifyInstance, patience: number): Promise<void> {
  const closed = server.close()
  if (!(await within(patience, closed))) server.server.closeAllConnections()
  await within(1_000, closed)
}
