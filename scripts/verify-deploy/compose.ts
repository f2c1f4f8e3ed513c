import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

export type Topology = 'monolith' | 'split'
export type ReverseProxy = 'nginx' | 'haproxy'

const FILES: Record<Topology, string> = { monolith: 'docker-compose.yml', split: 'docker-compose.split.yml' }

/** The compose files as they are, in a project, a network and ports of their own, on 127.0.0.1 only. */
export class Compose {
  readonly url: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(env: NodeJS.ProcessEnv) {
    this.#env = env
    this.url = `https://127.0.0.1:${env.HTTPS_PORT}`
  }

  /** All load comes from one address here, so only the limits are other than they are delivered. */
  static async prepare(): Promise<Compose> {
    await run('docker', ['info']).catch(() => {
      throw new Error('No container engine answers: start Docker (dockerd), then try again.')
    })
    await run('sh', ['deploy/secrets.sh'], { cwd: root })
    const folder = await mkdtemp(join(tmpdir(), 'seam-verify-'))
    const limits = await readFile(join(root, 'deploy/nginx/limits.conf'), 'utf8')
    await writeFile(join(folder, 'limits.conf'), limits.replace('rate=200r/s', 'rate=100000r/s'), { mode: 0o644 })
    await copyFile(join(root, 'deploy/haproxy/haproxy.cfg'), join(folder, 'haproxy.cfg'))
    return new Compose({
      ...process.env,
      COMPOSE_PROJECT_NAME: 'seam-verify',
      SEAM_NET: '10.213.81',
      SEAM_SERVICES_NET: '10.213.91',
      PUBLISH: '127.0.0.1',
      HTTP_PORT: '18180',
      HTTPS_PORT: '18543',
      NGINX_LIMITS: join(folder, 'limits.conf'),
      REQUESTS_A_SECOND: '1000000',
      RATE_LIMIT: '100000000',
      LOGIN_LIMIT: '100000000',
      LOG_LEVEL: 'warn',
    })
  }

  /** The same, with more in its environment. */
  with(env: Record<string, string>): Compose {
    return new Compose({ ...this.#env, ...env })
  }

  /** Builds the image; from the base of the same major version that is there, where no registry has the one that is named. */
  async build(): Promise<void> {
    const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8')
    const [, base = '', major = ''] = /^FROM (node:(\d+)\S+)/m.exec(dockerfile) ?? []
    const succeeds = (...args: string[]) =>
      this.docker(...args).then(
        () => true,
        () => false,
      )
    if (!(await succeeds('image', 'inspect', base)) && !(await succeeds('pull', '-q', base))) {
      const other = `node:${major}-bookworm-slim`
      if (!(await succeeds('tag', other, base))) throw new Error(`${base} cannot be pulled, and ${other} is not here.`)
      console.log(`  ${base} cannot be pulled: built on the ${other} that is here.`)
    }
    await this.docker('build', '-q', '--network=host', '-t', 'seam:0.1.0', '.')
  }

  /** Starts a topology, or some of its services, and waits until they are well. */
  async up(topology: Topology, proxy: ReverseProxy, ...services: string[]): Promise<void> {
    const profile = proxy === 'haproxy' ? ['--profile', 'haproxy'] : []
    const all =
      services.length === 0
        ? proxy === 'haproxy'
          ? ['--scale', 'nginx=0', '--remove-orphans']
          : ['--remove-orphans']
        : ['--no-deps']
    await this.#compose(
      topology,
      ...profile,
      'up',
      '-d',
      '--no-build',
      '--wait',
      '--wait-timeout',
      '180',
      ...all,
      ...services,
    )
  }

  /** Ends everything, and forgets its data. */
  async down(): Promise<void> {
    for (const topology of ['split', 'monolith'] as const)
      await this.#compose(topology, '--profile', '*', 'down', '-v', '--remove-orphans', '-t', '30')
  }

  async remove(topology: Topology, ...services: string[]): Promise<void> {
    await this.#compose(topology, 'rm', '-f', '-s', ...services)
  }

  /** The containers of a service, by their names. */
  async containers(topology: Topology, service: string): Promise<string[]> {
    const names = await this.#compose(topology, 'ps', '--format', '{{.Name}}', service)
    return names.split('\n').filter(Boolean).sort()
  }

  async sql(database: string, query: string, server = 'postgres'): Promise<string> {
    return this.exec('monolith', server, 'psql', '-U', 'postgres', '-At', '-d', database, '-c', query)
  }

  /** Runs a program in the container of a service, and returns what it writes. */
  async exec(topology: Topology, service: string, ...program: string[]): Promise<string> {
    return (await this.#compose(topology, 'exec', '-T', service, ...program)).trim()
  }

  async logs(topology: Topology): Promise<string> {
    return this.#compose(topology, 'logs', '--no-color', '--tail', '6')
  }

  /** Stops a container as an update does, starts it again, and waits until it is well, at most 120 s. */
  async restart(container: string): Promise<void> {
    await this.docker('restart', '-t', '30', container)
    await this.healthy(container)
  }

  async healthy(container: string): Promise<void> {
    const end = performance.now() + 120_000
    while ((await this.docker('inspect', '-f', '{{.State.Health.Status}}', container)).trim() !== 'healthy') {
      if (performance.now() > end) throw new Error(`${container} was not healthy within 120 s.`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  async docker(...args: string[]): Promise<string> {
    return (await run('docker', args, { cwd: root, env: this.#env, timeout: 900_000, maxBuffer: 1 << 26 })).stdout
  }

  #compose(topology: Topology, ...args: string[]): Promise<string> {
    return this.docker('compose', '-f', FILES[topology], ...args)
  }
}
