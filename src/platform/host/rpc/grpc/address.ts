/** How far the port for gRPC is above the one for HTTP, where `RPC_PORT` does not say otherwise. */
export const GRPC_OFFSET = 2_000

/**
 * Where an instance serves gRPC: on the same host as HTTP, on the port that `RPC_PORT` names for all, else on a port that
 * follows from the one for HTTP. So addresses of instances, however they are found, are those for HTTP.
 */
export const grpcPort = (httpPort: number, rpcPort: number | undefined): number => rpcPort ?? httpPort + GRPC_OFFSET

/**
 * The gRPC target of an instance.
 *
 * @param origin `http://host:port`, or https: then gRPC is spoken over TLS as well
 * @throws {Error} when the origin is none, or no port follows from it
 */
export function grpcTarget(origin: string, rpcPort: number | undefined): { target: string; isSecure: boolean } {
  const { hostname, port, protocol } = new URL(origin)
  const isSecure = protocol === 'https:'
  const grpc = grpcPort(Number(port) || (isSecure ? 443 : 80), rpcPort)
  if (grpc > 65_535) throw new Error(`${origin} has no port for gRPC: ${grpc} is none.`)
  return { target: `${hostname}:${grpc}`, isSecure }
}
