import type { Transporter } from 'nodemailer'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { eq, sql } from '../../platform/kit/tables.ts'
import type { notifications } from './contract.ts'
import type { settings } from './settings.ts'
import { emails } from './tables.ts'

/** Mails sent at a time by one process, each on a connection of its own. */
const BATCH = 5
/** After this many attempts a mail counts as failed: with the pauses below, after some twenty minutes. */
const ATTEMPTS = 10
/** Seconds that a mail under way is left alone by others; longer than SMTP may take. */
const LEASE = 60

type App = ModuleApp<typeof notifications, typeof settings>

/**
 * Sends queued mail: at least once, with a Message-ID that stays the same, so that a mail server or a reader can tell a
 * repetition. Without `SMTP_URL`, mail stays in the table and counts as sent.
 */
export function mailerOf(app: App): { wake(): void } {
  let transporter: Promise<Transporter> | undefined
  const { SMTP_URL: url, MAIL_FROM: from } = app.settings
  const domain = /@([^>\s]+)/.exec(from ?? '')?.[1] ?? 'localhost'
  app.addHook('onClose', async () => (await transporter)?.close())

  const deliver = async (mail: { id: string; to: string; subject: string; text: string }) => {
    if (!url) return
    transporter ??= import('nodemailer').then(({ createTransport }) =>
      createTransport({
        url,
        pool: true,
        maxConnections: BATCH,
        connectionTimeout: 5_000,
        greetingTimeout: 5_000,
        socketTimeout: 20_000,
      } as object),
    )
    await (await transporter).sendMail({
      from,
      to: mail.to,
      subject: mail.subject,
      text: mail.text,
      messageId: `<${mail.id}@${domain}>`,
    })
  }

  const take = () =>
    app.db
      .update(emails)
      .set({ attempts: sql`${emails.attempts} + 1`, dueAt: sql`now() + make_interval(secs => ${LEASE})` })
      .where(
        sql`${emails.id} in (select id from emails where status = 'queued' and due_at <= now() order by due_at limit ${BATCH} for update skip locked)`,
      )
      .returning()

  const send = async (mail: typeof emails.$inferSelect) => {
    try {
      await deliver(mail)
      await app.db.update(emails).set({ status: 'sent', lastError: null }).where(eq(emails.id, mail.id))
    } catch (error) {
      app.log.warn({ err: error, email: mail.id, attempt: mail.attempts }, 'a mail could not be sent')
      const status = mail.attempts >= ATTEMPTS ? 'failed' : 'queued'
      // 5 s, 20 s, 45 s … 7 min; half of it at random, so that many do not come back at once.
      const pause = 5 * mail.attempts ** 2 * (0.5 + Math.random() / 2)
      await app.db
        .update(emails)
        .set({
          status,
          lastError: String((error as Error).message).slice(0, 500),
          dueAt: sql`now() + make_interval(secs => ${pause})`,
        })
        .where(eq(emails.id, mail.id))
    }
  }

  return app.sweep({
    name: 'mailer',
    every: 1_000,
    async run() {
      for (;;) {
        const mails = await take()
        await Promise.all(mails.map(send))
        if (mails.length < BATCH) return
      }
    },
  })
}
