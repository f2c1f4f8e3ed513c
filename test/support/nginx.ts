import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { provideNginx } from '../../scripts/nginx.ts'
import { provideProgram } from '../../scripts/programs.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

const run = promisify(execFile)
const DELIVERED = join(import.meta.dirname, '../../deploy/nginx')

/** A real nginx of the test's own, configured as the project delivers it. */
export interface Nginx {
  /** `https://127.0.0.1:<port>` */
  readonly url: string
  /** The certificate that it has made for itself. */
  readonly ca: string
  /** What it has logged: accesses and errors. */
  log(): Promise<string>
  close(): Promise<void>
}

/**
 * Starts the nginx of `deploy/nginx` before edges of this machine. Only paths, ports and edges are other than delivered; and
 * HTTP/2 is asked for in the words of older versions too.
 *
 * @param edges as `host:port`
 */
export async function startNginx(edges: readonly string[]): Promise<Nginx> {
  const program = await provideNginx()
  const folder = await mkdtemp(join(tmpdir(), 'seam-nginx-'))
  await chmod(folder, 0o755)
  const [http, https, up, nobody] = await freePorts(4)
  await certify(folder)
  for (const name of await readdir(DELIVERED)) {
    const text = (await readFile(join(DELIVERED, name), 'utf8'))
      .replace(/\/(etc\/nginx|run\/secrets|tmp)\//g, `${folder}/`)
      .replace(/\/dev\/std(out|err)/g, `${folder}/$1.log`)
      .replace(/^ *listen \[::\].*$/gm, '')
      .replace('listen 8080', `listen 127.0.0.1:${http}`)
      .replace('listen 8443 ssl', `listen 127.0.0.1:${https} ssl http2`)
      .replace(/^ *http2 on;$/m, '')
      .replaceAll('127.0.0.1:8081', `127.0.0.1:${up}`)
      .replaceAll('127.0.0.1:8082', `127.0.0.1:${nobody}`)
      .replace(
        /(^ *server edge-\d.*\n)+/gm,
        edges.map((edge) => `server ${edge} max_fails=1 fail_timeout=2s;\n`).join(''),
      )
    await writeFile(join(folder, name), text)
  }
  const child = spawn(program, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until('nginx answers', () => {
      if (child.exitCode !== null) throw new Error('nginx has ended; see what it said.')
      return fetch(`http://127.0.0.1:${up}`).then(
        ({ ok }) => ok,
        () => false,
      )
    })
    const log = async () => {
      const parts = await Promise.all(['out.log', 'err.log'].map((name) => readFile(join(folder, name), 'utf8')))
      return parts.join('')
    }
    return { url: `https://127.0.0.1:${https}`, ca: await readFile(join(folder, 'tls.crt'), 'utf8'), log, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function certify(folder: string): Promise<void> {
  const advice = 'The tests need openssl: install it (Debian: apt-get install openssl).'
  const openssl = await provideProgram({ names: ['openssl'], package: 'openssl', advice })
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    join(folder, 'tls.key'),
  ]
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await run(openssl, ['req', '-x509', '-days', '2', ...key, ...name, '-out', join(folder, 'tls.crt')])
}
