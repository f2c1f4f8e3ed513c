// Plays a short story against Seam: `npm run demo` (starts one, or takes the one on `PORT` of 127.0.0.1), or
// `npm run demo -- http://127.0.0.1:8100`.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { SMTPServer } from 'smtp-server'

interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: the story reads answers as they come; the API tests check their shapes
  body: Record<string, any>
}

const started = performance.now()
const [given] = process.argv.slice(2)
const port = process.env.PORT || '8000'
const base = given ?? `http://127.0.0.1:${port}`
const running = await isHealthy()
if (given && !running) fail(`Nothing healthy answers at ${given}.`)

const mails: { to: string; subject: string }[] = []
const own = running ? undefined : await startSeam()
try {
  await play()
} finally {
  await own?.stop()
}

async function play(): Promise<void> {
  console.log(`\nSeam at ${base}${own ? ', started for this demo' : ''}\n`)
  const email = `ada.${Date.now()}@example.com`
  const account = { email, password: 'correct horse battery', firstName: 'Ada', lastName: 'Lovelace' }

  const { user, token } = await step('Ada registers', async () => {
    const { body } = await ask('POST', '/api/auth/register', { body: account, expect: 201 })
    return { value: body as { user: { id: string }; token: string }, shown: `user ${body.user.id}, a token, a session` }
  })
  await step('a welcome mail is sent', async () => {
    if (!own) {
      const { body } = await until(
        () => ask('GET', '/api/notifications', { token }),
        ({ body }) => body.data.length > 0,
      )
      return {
        value: undefined,
        shown: `notification "${body.data[0].text}" (the mail goes where that instance's SMTP_URL says)`,
      }
    }
    const mail = await until(
      async () => mails.find(({ to }) => to === email),
      (found) => found !== undefined,
    )
    return { value: undefined, shown: `"${mail!.subject}" arrived by SMTP for ${mail!.to}` }
  })
  const post = await step('Ada writes a post', async () => {
    const { body } = await ask('POST', '/api/posts', {
      token,
      body: { title: 'On the Analytical Engine', content: 'It weaves algebraic patterns.', tags: ['history'] },
      expect: 201,
    })
    return { value: body.data as { id: string }, shown: `post ${body.data.id} by ${body.data.author.firstName}` }
  })
  await step('everybody can read it', async () => {
    const { body } = await ask('GET', `/api/posts/${post.id}`)
    return { value: undefined, shown: `"${body.data.title}"` }
  })
  await step('her profile counts it', async () => {
    const { body } = await until(
      () => ask('GET', `/api/users/${user.id}`),
      ({ body }) => body.data.postCount === 1,
    )
    return { value: undefined, shown: `postCount ${body.data.postCount}, by an event from posts to users` }
  })
  await step('every module is well', async () => {
    const { body } = await ask('GET', '/api/health')
    const services = Object.entries<{ status: string; responseTime: number }>(body.services)
    return {
      value: undefined,
      shown: services.map(([name, { responseTime }]) => `${name} ${responseTime} ms`).join(', '),
    }
  })
  console.log(`\nAll of it took ${Math.round(performance.now() - started)} ms.\n`)
}

async function step<T>(title: string, run: () => Promise<{ value: T; shown: string }>): Promise<T> {
  const before = performance.now()
  try {
    const { value, shown } = await run()
    const took = `${Math.round(performance.now() - before)} ms`
    console.log(`  ✓ ${title.padEnd(24)} ${took.padStart(8)}   ${shown}`)
    return value
  } catch (error) {
    console.log(`  ✗ ${title.padEnd(24)} ${(error as Error).message}`)
    process.exitCode = 1
    throw error
  }
}

async function ask(
  method: string,
  path: string,
  options: { token?: string; body?: object; expect?: number } = {},
): Promise<Answer> {
  const response = await fetch(base + path, {
    method,
    headers: {
      ...(options.token && { authorization: `Bearer ${options.token}` }),
      ...(options.body && { 'content-type': 'application/json' }),
    },
    ...(options.body && { body: JSON.stringify(options.body) }),
    signal: AbortSignal.timeout(15_000),
  })
  const body = (await response.json()) as Answer['body']
  const expected = options.expect ?? 200
  if (response.status !== expected)
    throw new Error(`${method} ${path}: ${response.status} instead of ${expected}: ${body.detail}`)
  return { status: response.status, body }
}

async function until<T>(get: () => Promise<T>, done: (value: T) => boolean): Promise<T> {
  const end = performance.now() + 15_000
  for (;;) {
    const value = await get()
    if (done(value)) return value
    if (performance.now() > end) throw new Error('It did not happen within 15 s.')
    await sleep(20)
  }
}

async function isHealthy(): Promise<boolean> {
  const response = await fetch(`${base}/api/health`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
  return response?.status === 200
}

async function startSeam(): Promise<{ stop(): Promise<void> }> {
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData(stream, session, done) {
      let text = ''
      stream.on('data', (chunk: Buffer) => {
        text += chunk
      })
      stream.on('end', () => {
        const subject = /^Subject: (.*)$/m.exec(text)?.[1]?.trim() ?? ''
        mails.push(...session.envelope.rcptTo.map(({ address }) => ({ to: address, subject })))
        done()
      })
    },
  })
  await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve))
  const { port } = smtp.server.address() as { port: number }
  const env = { LOG_LEVEL: 'warn', ...process.env, MODULES: 'all', SMTP_URL: `smtp://127.0.0.1:${port}` }
  const seam: ChildProcess = spawn(process.execPath, ['src/main.ts'], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const hasEnded = () => seam.exitCode !== null || seam.signalCode !== null
  const stop = async () => {
    if (!hasEnded()) {
      seam.kill('SIGTERM')
      await once(seam, 'exit')
    }
    await new Promise<void>((resolve) => smtp.close(resolve))
  }
  const end = performance.now() + 60_000
  while (!(await isHealthy())) {
    if (hasEnded() || performance.now() > end) {
      await stop()
      fail('Seam did not start.')
    }
    await sleep(50)
  }
  return { stop }
}

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}
