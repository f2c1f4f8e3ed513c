import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Registry } from 'prom-client'
import { BootError } from '../boot-error.ts'
import { mergeMetrics } from './merge-metrics.ts'
import { type Answer, problem, type Question } from './messages.ts'
import type { WorkerProcess } from './worker-process.ts'

/** How long a worker may take to answer, in milliseconds: a probe, and what operators ask. */
const PATIENCE = { probe: 2_000, question: 10_000 }
/** The most that a request may carry, in bytes. */
const LONGEST = 65_536

/** The operators' listener of a machine: one for all workers. */
export interface OpsOfWorkers {
  readonly url: string
  readonly port: number
  close(): void
}

/**
 * Listens for operators and answers for all workers: `/readyz` is 200 when one of them is ready, `/livez` when all that
 * serve answer, `/metrics` has the metrics of each with the label `worker`. What else is asked, any one of them answers.
 *
 * @param own the primary's own metrics
 * @throws {BootError} when the port cannot be listened on
 */
export async function serveOpsOfWorkers(
  at: { host: string; port: number },
  serving: () => readonly WorkerProcess[],
  own: Registry,
): Promise<OpsOfWorkers> {
  const server = createServer(async (request, response) => {
    const answer = await answerOf(request, serving(), own).catch((error: Error) => problem(500, error.message))
    send(response, answer)
  })
  const port = await listen(server, at)
  const host = at.host.includes(':') ? `[${at.host}]` : at.host
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://${host}:${port}`, port, close }
}

async function answerOf(request: IncomingMessage, workers: readonly WorkerProcess[], own: Registry): Promise<Answer> {
  const { method = 'GET', url = '/', headers } = request
  if (Number(headers['content-length'] ?? 0) > LONGEST || headers['transfer-encoding']) return problem(413, 'too long')
  const question = { method, url, headers, body: await text(request) }
  const path = url.split('?', 1)[0]
  if (path === '/livez') {
    const answers = await askAll(workers, question)
    const all = answers.size === workers.length
    return json(all ? 200 : 503, { status: all ? 'alive' : 'not alive' })
  }
  if (path === '/readyz') {
    const ready = await isAnyReady(workers, question)
    return json(ready ? 200 : 503, { status: ready ? 'ready' : 'not ready' })
  }
  if (path === '/metrics') {
    const answers = [...(await askAll(workers, question))].filter(([, { status }]) => status === 200)
    const texts = new Map(answers.map(([worker, { body }]) => [worker, body]))
    const ofWorkers = texts.size > 0 ? `${mergeMetrics(texts)}\n` : ''
    return { status: 200, contentType: own.contentType, body: ofWorkers + (await own.metrics()) }
  }
  return (await anyAnswer(workers, question)) ?? problem(503, 'no worker answers at the moment')
}

/** What only reads is asked of the next worker when one does not answer; what changes something may have been done. */
async function anyAnswer(workers: readonly WorkerProcess[], question: Question): Promise<Answer | undefined> {
  if (question.method !== 'GET') return workers[0]?.ask(question, PATIENCE.question)
  for (const worker of workers) {
    const answer = await worker.ask(question, PATIENCE.question / workers.length)
    if (answer) return answer
  }
  return undefined
}

/** One that hangs is not waited for when another is ready. */
async function isAnyReady(workers: readonly WorkerProcess[], question: Question): Promise<boolean> {
  const asked = workers.map(async (worker) => {
    const answer = await worker.ask(question, PATIENCE.probe)
    if (answer?.status !== 200) throw new Error(`worker ${worker.number} is not ready`)
    return true
  })
  return Promise.any(asked).catch(() => false)
}

/** The answers that came in time, by the number of the worker. */
async function askAll(workers: readonly WorkerProcess[], question: Question): Promise<Map<number, Answer>> {
  const answers = await Promise.all(
    workers.map(async (worker) => [worker.number, await worker.ask(question, PATIENCE.probe)] as const),
  )
  return new Map(answers.flatMap(([number, answer]) => (answer ? [[number, answer]] : [])))
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  try {
    server.listen({ host, port })
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'EADDRINUSE' ? 'is in use already' : `cannot be listened on: ${message}`
    throw new BootError([`${host}:${port} ${reason}. Take another, as in OPS_PORT=${port + 1}`], { cause: error })
  }
}

const json = (status: number, body: object): Answer => ({
  status,
  contentType: 'application/json; charset=utf-8',
  body: JSON.stringify(body),
})

function send(response: ServerResponse, { status, contentType, body }: Answer): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) }).end(body)
}
