import { createServer, type Server } from 'node:net'

/**
 * Where ports are looked for: below those that systems give to outgoing connections (Linux: 32768 and above), so that a
 * server that is started again finds its port as it has left it.
 */
const [LOWEST, HIGHEST] = [10_000, 32_000]

async function listening(port: number): Promise<Server | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

/**
 * Ports of 127.0.0.1 that are free at the moment.
 *
 * @param above the ports so many above them are free as well
 */
export async function freePorts(count: number, above = 0): Promise<number[]> {
  const held: Server[] = []
  const ports: number[] = []
  for (let tries = 0; ports.length < count; tries++) {
    if (tries > 1_000) throw new Error('127.0.0.1 has no free port.')
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - above - LOWEST))
    const servers = [await listening(port), above > 0 ? await listening(port + above) : undefined]
    for (const server of servers) if (server) held.push(server)
    if (servers[0] && (above === 0 || servers[1])) ports.push(port)
  }
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
