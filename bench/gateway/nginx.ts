import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { provideNginx } from '../../scripts/nginx.ts'
import { freePorts } from '../../test/support/ports.ts'

/** One worker, as the others are one process each, with connections to the server that it keeps. */
const configuration = (folder: string, port: number, upstream: number, connections: number) => `
worker_processes 1;
daemon off;
pid ${folder}/pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream server {
    server 127.0.0.1:${upstream};
    keepalive ${connections};
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://server;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}`

/**
 * nginx as a proxy before a server of this machine.
 *
 * @returns why there is none, where there is none
 */
export async function startNginx(options: {
  upstream: number
  connections: number
}): Promise<{ port: number; end(): Promise<void> } | string> {
  let program: string
  try {
    program = await provideNginx(console.log)
  } catch (error) {
    return (error as Error).message
  }
  const folder = await mkdtemp(join(tmpdir(), 'seam-nginx-'))
  const [port] = (await freePorts(1)) as [number]
  const file = join(folder, 'nginx.conf')
  await writeFile(file, configuration(folder, port, options.upstream, options.connections))
  const child = spawn(program, ['-p', folder, '-c', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = once(child, 'exit').catch(() => {})
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const end = async () => {
    child.kill('SIGTERM')
    const late = sleep(5_000, undefined, { ref: false }).then(kill)
    await Promise.race([exited, late])
    process.off('exit', kill)
    await rm(folder, { recursive: true, force: true })
  }
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) break
    const answers = await fetch(`http://127.0.0.1:${port}/api/posts`, { headers: { connection: 'close' } }).then(
      ({ ok }) => ok,
      () => false,
    )
    if (answers) return { port, end }
    await sleep(25)
  }
  await end()
  return 'nginx did not start.'
}
