import cluster from 'node:cluster'
import type { FastifyInstance, InjectOptions } from 'fastify'
import {
  type Answer,
  type FromWorker,
  NUMBER,
  problem,
  type Question,
  type Serving,
  type ToWorker,
} from './messages.ts'

/** The number of this worker, 1 to `WORKERS`. */
export const workerNumber = (): number => Number(process.env[NUMBER])

/** Tells the primary that this worker serves, and answers what the primary is asked by operators. */
export function tellPrimary(serving: Serving, ops: FastifyInstance): void {
  process.on('message', async ({ id, question }: ToWorker) => {
    tell({ kind: 'answer', id, answer: await answerOf(question, ops) })
  })
  tell({ kind: 'ready', serving })
}

/** Calls back, once, when this worker is to end: it is told to, or its primary has gone. */
export function whenToEnd(end: () => void): void {
  let isEnding = false
  const endOnce = () => {
    if (isEnding) return
    isEnding = true
    end()
  }
  // Ctrl-C reaches all processes of a terminal, and then the primary says it once more.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, endOnce)
  process.on('disconnect', () => {
    // Else Node would end this process at once, with all that it is doing.
    if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
    endOnce()
  })
}

async function answerOf({ method, url, headers, body }: Question, ops: FastifyInstance): Promise<Answer> {
  try {
    const response = await ops.inject({ method, url, headers, payload: body } as InjectOptions)
    const contentType = String(response.headers['content-type'] ?? 'application/json')
    return { status: response.statusCode, contentType, body: response.body }
  } catch {
    return problem(503, 'this worker is ending')
  }
}

function tell(message: FromWorker): void {
  if (process.connected) process.send?.(message)
}
