// An instance of the mill as a process of its own, for tests that kill it. A message with a manner changes what it does; one
// that asks for the count is answered with the number of requests and calls that it got.
import pino from 'pino'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { catalogue, type Manner } from './mill.ts'

let manner: Manner = 2
let count = 0
const asked = () => {
  count++
  return manner
}
process.on('message', (message: Manner | 'count') => {
  if (message === 'count') process.send!(count)
  else process.send!((manner = message))
})
process.on('disconnect', () => process.exit(1))

const app = await buildApp(readConfig(process.env, catalogue({ asked })), pino({ level: 'silent' }))
process.on('SIGTERM', () => void app.close().then(() => process.exit(0)))
await app.listen()
process.send!('ready')
