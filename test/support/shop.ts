import postgres from 'postgres'
import { Type } from 'typebox'
import { migrate } from '../../src/platform/host/data/migrate.ts'
import { type Contract, command, defineContract } from '../../src/platform/kit/contract.ts'
import { defineModule, type Manifest, type ModulePlugin } from '../../src/platform/kit/module.ts'
import { newId, sql, type Transaction } from '../../src/platform/kit/tables.ts'

/** A module whose only work is idempotent: it takes orders, by requests and by calls. */
export const shop = defineContract('shop', {
  routes: ['/api/orders', '/api/offers'],
  errors: { SoldOut: { status: 409, message: 'There is none left.' } },
  procedures: {
    order: command({
      input: Type.Object({ name: Type.String(), note: Type.Optional(Type.String()) }),
      output: Type.Object({ id: Type.String(), name: Type.String() }),
      throws: ['SoldOut'],
    }),
  },
})

/** What tests do in the middle of its work. */
export interface Interference {
  /** In the transaction, after the order was written. */
  during?(name: string, tx: Transaction): Promise<unknown>
  /** After the commit, before the answer. */
  afterwards?(): unknown
  /** What the work says instead of the order. */
  result?(): unknown
}

const Order = Type.Object(
  { name: Type.String({ maxLength: 2_000 }), secret: Type.Optional(Type.String()) },
  { additionalProperties: false },
)

export function shopModule({ during, afterwards, result }: Interference = {}): Manifest {
  const plugin: ModulePlugin<typeof shop> = (app) => {
    const place = async (tx: Transaction, name: string) => {
      const id = newId()
      await tx.execute(sql`insert into orders (id, name) values (${id}::uuid, ${name})`)
      await during?.(name, tx)
      return { id, name }
    }
    app.implement({
      async order({ name }, context) {
        const order = await app.once(context, (tx) => place(tx, name))
        await afterwards?.()
        return order
      },
    })
    for (const url of shop.routes) {
      const config = { allow: 'anyone', idempotent: true } as const
      app.post(url, { config, schema: { body: Order } }, async (request, reply) => {
        const { name, secret } = request.body
        const order = await app.once(request, reply, async (tx) => {
          const order = await place(tx, name)
          return result ? result() : { ...order, secret }
        })
        await afterwards?.()
        return reply.code(201).send({ data: order })
      })
    }
    app.post('/api/orders/plain', { config: { allow: 'anyone' } }, (request, reply) =>
      app.once(request, reply, async () => ({})),
    )
  }
  return defineModule(shop, { plugin: async () => ({ default: plugin as ModulePlugin<Contract> }) })
}

/** Makes the schema of the shop, with its tables: a real module has migrations. */
export async function provideShop(databaseUrl: string): Promise<void> {
  await migrate(databaseUrl, { folder: 'migrations', schemas: [shop.name] })
  const owner = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  await owner.unsafe(`
    create table shop.orders (id uuid primary key, name text not null);
    create table shop.idempotency_keys (
      caller text not null, key text not null, fingerprint text not null, result text,
      created_at timestamptz not null default now(), primary key (caller, key));
    create index on shop.idempotency_keys (created_at)`)
  await owner.end()
}
