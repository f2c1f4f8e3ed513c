import { type ChildProcess, spawn } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { provideDnsmasq } from '../../scripts/dnsmasq.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** What a DNS server knows. */
export interface Records {
  /** Addresses by name, of both kinds. */
  hosts?: Record<string, readonly string[]>
  /** By the name of the service: `target:port:priority:weight`. */
  services?: Record<string, readonly string[]>
  /** In seconds; 1 unless it is said. */
  ttl?: number
}

/** A real DNS server for the domain `test`, on 127.0.0.1. */
export interface Dnsmasq {
  /** As `Resolver.setServers` takes it. */
  readonly server: string
  /** The questions that it got, as dnsmasq logs them: `query[A] users.test`. */
  readonly questions: readonly string[]
  /** New addresses while it runs, by SIGHUP. */
  rehost(hosts: Record<string, readonly string[]>): Promise<void>
  /** Stops it and starts it with other records, on the same port. */
  restart(records: Records): Promise<void>
  /** It is gone until it is restarted. */
  stop(): Promise<void>
  close(): Promise<void>
}

export async function startDnsmasq(records: Records): Promise<Dnsmasq> {
  const program = await provideDnsmasq()
  const folder = await mkdtemp(join(tmpdir(), 'seam-dnsmasq-'))
  const hostsFile = join(folder, 'hosts')
  const [port] = await freePorts(1)
  const server = `127.0.0.1:${port}`
  const questions: string[] = []
  let child: ChildProcess | undefined
  let marks = 0

  /** The hosts, with a name that nobody else has, by which it shows that it has read them. */
  const writeHosts = async (hosts: Record<string, readonly string[]>): Promise<string> => {
    const mark = `mark-${++marks}.test`
    const lines = Object.entries({ ...hosts, [mark]: ['127.9.9.9'] }).flatMap(([name, addresses]) =>
      addresses.map((address) => `${address} ${name}\n`),
    )
    await writeFile(hostsFile, lines.join(''))
    return mark
  }
  const knows = (name: string) =>
    until(`dnsmasq knows ${name}`, async () => {
      const resolver = new Resolver({ timeout: 200, tries: 1 })
      resolver.setServers([server])
      return await resolver.resolve4(name).catch(() => undefined)
    })
  const stop = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
  const start = async ({ hosts = {}, services = {}, ttl = 1 }: Records) => {
    const mark = await writeHosts(hosts)
    const srv = Object.entries(services).flatMap(([name, targets]) =>
      targets.map((target) => `--srv-host=${[name, ...target.split(':')].join(',')}`),
    )
    child = spawn(
      program,
      [
        ...['--keep-in-foreground', '--conf-file=/dev/null', '--pid-file', '--log-facility=-', '--log-queries'],
        ...['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`, '--no-resolv', '--no-hosts'],
        ...['--local=/test/', `--addn-hosts=${hostsFile}`, `--local-ttl=${ttl}`],
        // It would give up root, and then could not read the file.
        ...(process.getuid?.() === 0 ? ['--user=root', '--group='] : []),
        ...srv,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    child.stderr!.on('data', (chunk) => questions.push(...(String(chunk).match(/query\[\w+\] \S+/g) ?? [])))
    await knows(mark)
  }
  await start(records)
  return {
    server,
    questions,
    async rehost(hosts) {
      const mark = await writeHosts(hosts)
      child!.kill('SIGHUP')
      await knows(mark)
    },
    async restart(records) {
      await stop()
      await start(records)
    },
    stop,
    async close() {
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
