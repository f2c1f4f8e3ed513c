import { setTimeout as sleep } from 'node:timers/promises'
import { SMTPServer } from 'smtp-server'

/** A mail as the server received it, headers and all. */
export interface ReceivedMail {
  from: string
  to: string[]
  text: string
}

export interface TestSmtp {
  url: string
  readonly mails: ReceivedMail[]
  /** The first mail to an address; waits for it, at most `timeout` ms (10 s). */
  mailTo(address: string, timeout?: number): Promise<ReceivedMail>
  close(): Promise<void>
}

/** A real SMTP server on 127.0.0.1 that keeps what it gets. */
export async function startSmtp(): Promise<TestSmtp> {
  const mails: ReceivedMail[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        mails.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(chunks).toString(),
        })
        done()
      })
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.server.address() as { port: number }
  return {
    url: `smtp://127.0.0.1:${port}`,
    mails,
    async mailTo(address, timeout = 10_000) {
      const until = Date.now() + timeout
      for (;;) {
        const mail = mails.find(({ to }) => to.includes(address))
        if (mail) return mail
        if (Date.now() > until) throw new Error(`No mail to ${address} within ${timeout} ms.`)
        await sleep(20)
      }
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}
