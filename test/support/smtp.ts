import { setTimeout as sleep } from 'node:timers/promises'
import { SMTPServer, type SMTPServerSession } from 'smtp-server'

/** A mail as the server received it, headers and all. */
export interface ReceivedMail {
  from: string
  to: string[]
  /** As it came over the line. */
  text: string
  /** The same with quoted-printable undone, for those who look for words. */
  words: string
  messageId: string
}

/**
 * What a server does with a mail instead of taking it: refuses the recipient or the mail with a code of SMTP, does not
 * answer for some milliseconds, or drops the connection, with the mail or without.
 */
export type Mishap = { recipient: number } | { mail: number } | { delay: number } | 'drop' | 'take and drop'

export interface TestSmtp {
  url: string
  readonly mails: ReceivedMail[]
  /** The first mail to an address; waits for it, at most `timeout` ms (10 s). */
  mailTo(address: string, timeout?: number): Promise<ReceivedMail>
  /** What happens to the next mails to an address, one after the other; later ones are taken. */
  mishaps(address: string, ...mishaps: Mishap[]): void
  close(): Promise<void>
}

/** A real SMTP server on 127.0.0.1 that keeps what it gets. */
export async function startSmtp(): Promise<TestSmtp> {
  const mails: ReceivedMail[] = []
  const planned = new Map<string, Mishap[]>()
  const next = (address: string) => planned.get(address)?.[0]
  const done = (address: string) => planned.get(address)?.shift()
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    closeTimeout: 100,
    onRcptTo({ address }, _session, callback) {
      const mishap = next(address)
      if (typeof mishap !== 'object' || !('recipient' in mishap)) return callback()
      done(address)
      callback(refusal(mishap.recipient))
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', async () => {
        const { mailFrom, rcptTo } = session.envelope
        const to = rcptTo.map(({ address }) => address)
        const mishap = done(to[0] ?? '')
        if (mishap === 'drop') return drop(session)
        if (typeof mishap === 'object' && 'mail' in mishap) return callback(refusal(mishap.mail))
        if (typeof mishap === 'object' && 'delay' in mishap) await sleep(mishap.delay, undefined, { ref: false })
        const text = Buffer.concat(chunks).toString()
        const messageId = /^Message-ID: (.*)$/im.exec(text)?.[1]?.trim() ?? ''
        mails.push({ from: mailFrom ? mailFrom.address : '', to, text, words: plain(text), messageId })
        if (mishap === 'take and drop') return drop(session)
        callback()
      })
    },
  })
  const drop = (session: SMTPServerSession) => {
    for (const connection of (server as unknown as { connections: Set<Connection> }).connections)
      if (connection.id === session.id) connection._socket.destroy()
  }
  // Clients that go away in the middle are none of its faults.
  server.on('error', () => {})
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
    mishaps: (address, ...mishaps) => planned.set(address, mishaps),
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

interface Connection {
  id: string
  _socket: { destroy(): void }
}

const refusal = (code: number) => Object.assign(new Error(`no, ${code}`), { responseCode: code })

const plain = (text: string): string =>
  Buffer.from(
    text
      .replace(/=\r?\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_all, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString()
