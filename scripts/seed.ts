// Fills the databases: `npm run seed -- --users 10000 --posts 100000 --comments 300000`. It reads the environment as a
// process does. The same --seed makes the same rows; all users have the same password, which it prints.

import { parseArgs } from 'node:util'
import pino from 'pino'
import { readConfig } from '../src/config.ts'
import { catalogue } from '../src/modules/catalogue.ts'
import { BootError } from '../src/platform/host/boot-error.ts'
import { openState } from '../src/platform/host/state.ts'
import { emailOf, fill, type Seed } from './seed/fill.ts'

const USAGE = `npm run seed -- [--users 1000] [--posts 10000] [--comments 30000] [--seed 1] [--password …] [--force]

  --seed      another number makes other rows, beside those that are there
  --password  of all users (correct horse battery)
  --force     also with NODE_ENV=production`

/** The width of the bar, in characters. */
const WIDTH = 40

try {
  const { seed, force } = read()
  if (process.env.NODE_ENV === 'production' && !force)
    throw new Error('This is production: users that are made up do not belong here. If they do, say --force.')
  const config = readConfig(process.env, catalogue)
  const state = await openState({
    ...config,
    hosted: ['users', 'posts'],
    migrations: new URL('../migrations', import.meta.url).pathname,
    log: pino({ level: 'warn' }, pino.destination(2)),
  })
  try {
    const started = performance.now()
    const total = seed.users + seed.posts + seed.comments
    const progress = process.stdout.isTTY ? bar(total) : lines(total)
    await fill({ users: state.urlOf('users'), posts: state.urlOf('posts') }, seed, progress)
    const took = Math.round((performance.now() - started) / 100) / 10
    console.log(`${seed.users} users, ${seed.posts} posts, ${seed.comments} comments in ${took} s.`)
    console.log(`Sign in as ${emailOf(seed, 0)} to ${emailOf(seed, seed.users - 1)}, password "${seed.password}".`)
  } finally {
    await state.close()
  }
} catch (error) {
  console.error(error instanceof BootError ? error.faults.join('\n') : (error as Error).message)
  process.exitCode = 1
}

function read(): { seed: Seed; force: boolean } {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: '1000' },
      posts: { type: 'string', default: '10000' },
      comments: { type: 'string', default: '30000' },
      seed: { type: 'string', default: '1' },
      password: { type: 'string', default: 'correct horse battery' },
      force: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const number = (name: 'users' | 'posts' | 'comments' | 'seed', least: number, most: number) => {
    const value = Number(values[name])
    if (Number.isInteger(value) && value >= least && value <= most) return value
    throw new Error(`--${name} must be a whole number from ${least} to ${most}.\n\n${USAGE}`)
  }
  const { password, force } = values
  if (password.length < 8 || password.length > 128) throw new Error('--password must have 8 to 128 characters.')
  const seed = {
    users: number('users', 1, 1_000_000),
    posts: number('posts', 0, 10_000_000),
    comments: number('comments', 0, 50_000_000),
    seed: number('seed', 0, 4095),
    password,
  }
  if (seed.comments > 0 && seed.posts === 0) throw new Error('Comments need posts.')
  return { seed, force }
}

function bar(total: number): (done: number) => void {
  return (done) => {
    const filled = Math.floor((WIDTH * done) / total)
    const end = done === total ? '\n' : ''
    process.stdout.write(`\r${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)} ${done} of ${total}${end}`)
  }
}

function lines(total: number): (done: number) => void {
  let said = 0
  return (done) => {
    const tenth = Math.floor((10 * done) / total)
    if (tenth > said) console.log(`${tenth}0 %`)
    said = Math.max(said, tenth)
  }
}
