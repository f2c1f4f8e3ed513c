import { setTimeout as sleep } from 'node:timers/promises'
import { cause, describe, scheduleOf } from './faults.ts'
import { Random } from './random.ts'
import { judge, quiet } from './verdict.ts'
import { openWorld, type Queue } from './world.ts'
import { Writer } from './writer.ts'

export interface Run {
  readonly seed: number
  readonly queue: Queue
  /** How many faults there are, at least. */
  readonly faults: number
  /** How many events are published, at least. */
  readonly events: number
  /** Whether there are faults that take their time, and pauses. */
  readonly long: boolean
}

export interface Outcome {
  /** All that is not as it was promised, in words. */
  readonly wrong: readonly string[]
  readonly summary: string
}

/**
 * Breaks a running system in many ways while people use it, lets it come to rest, and looks whether every event has had its
 * effect once, in order. The same seed has the same faults and the same people.
 */
export async function runChaos(run: Run, log: (line: string) => void): Promise<Outcome> {
  const random = new Random(run.seed)
  const schedule = scheduleOf(random, { count: run.faults, redis: run.queue === 'redis', long: run.long })
  const world = await openWorld(run.queue)
  const writer = new Writer(world.url, new Random(run.seed + 1))
  const wrong: string[] = []
  const began = performance.now()
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1)
  try {
    const work = writer
      .work(run.long ? 8 : 4)
      .catch((error) => void wrong.push(`the writer was stopped: ${error.message}`))
    for (const { pause, fault } of schedule) {
      await sleep(pause)
      log(`${seconds()} s, ${writer.events} events: ${describe(world, fault)}`)
      await cause(world, fault)
    }
    while (writer.events < run.events && wrong.length === 0) await sleep(100)
    writer.stop()
    await work
    log(`${seconds()} s: ${writer.events} events; waiting for quiet`)
    wrong.push(...(await quiet(world)))
    wrong.push(...(await judge(world, writer.model)))
    const { users, posts, deleted, comments } = writer.model
    const doubled = world.smtp.mails.length - new Set(world.smtp.mails.map(({ messageId }) => messageId)).size
    const summary =
      `seed ${run.seed}, queues on ${run.queue}: ${writer.events} events and ${schedule.length} faults in ${seconds()} s; ` +
      `${users.length} users, ${posts.size + deleted} posts, ${comments.size} comments, ` +
      `${writer.repeated} requests sent again, ${doubled} mails sent twice under one id; ${wrong.length} wrong`
    if (wrong.length > 0)
      for (const { name, output } of world.members) log(`--- ${name} said:\n${output.slice(-2_000)}`)
    return { wrong, summary }
  } finally {
    writer.stop()
    await writer.close()
    await world.close()
  }
}
