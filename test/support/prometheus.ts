import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { providePrometheus } from '../../scripts/prometheus.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** One series of an answer. */
export interface Series {
  metric: Record<string, string>
  value: [time: number, value: string]
}

/** A real Prometheus on 127.0.0.1. */
export interface Prometheus {
  /** What a query gives now. */
  query(expression: string): Promise<Series[]>
  close(): Promise<void>
}

/** @param config as in prometheus.yml */
export async function startPrometheus(config: string): Promise<Prometheus> {
  const { prometheus } = await providePrometheus()
  const folder = await mkdtemp(join(tmpdir(), 'seam-prometheus-'))
  const file = join(folder, 'prometheus.yml')
  await writeFile(file, config)
  const [port] = await freePorts(1)
  const args = [`--config.file=${file}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`]
  const child = spawn(prometheus, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.on('data', (chunk) => (output = `${output}${chunk}`.slice(-4000)))
  const exited = once(child, 'exit')
  const close = async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
  try {
    await until('Prometheus is ready', async () => {
      if (child.exitCode !== null) throw new Error(`Prometheus has ended: ${output}`)
      return (await ask('/-/ready').catch(() => undefined))?.ok
    })
  } catch (error) {
    await close()
    throw error
  }
  return {
    async query(expression) {
      const answer = (await (await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`)).json()) as {
        status: string
        error?: string
        data: { result: Series[] }
      }
      if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`)
      return answer.data.result
    },
    close,
  }
}
