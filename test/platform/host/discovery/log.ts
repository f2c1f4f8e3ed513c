import { Writable } from 'node:stream'
import pino from 'pino'

/** A log whose lines can be read: `warn users: …`. */
export function readableLog() {
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      const { level, module, service, msg } = JSON.parse(String(chunk))
      lines.push(`${pino.levels.labels[level]} ${module ?? service}: ${msg}`)
      done()
    },
  })
  return { log: pino({ level: 'info' }, stream), lines }
}
