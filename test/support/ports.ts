import { createServer, type Server } from 'node:net'

async function listening(port: number): Promise<Server | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

const portOf = (server: Server): number => (server.address() as { port: number }).port

/**
 * Ports of 127.0.0.1 that are free at the moment.
 *
 * @param above the ports so many above them are free as well
 */
export async function freePorts(count: number, above = 0): Promise<number[]> {
  const held: Server[] = []
  const ports: number[] = []
  while (ports.length < count) {
    const server = await listening(0)
    if (!server) throw new Error('127.0.0.1 has no free port.')
    held.push(server)
    const port = portOf(server)
    const other = above > 0 && port + above <= 65_535 ? await listening(port + above) : undefined
    if (other) held.push(other)
    if (other || above === 0) ports.push(port)
  }
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
