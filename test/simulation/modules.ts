import postgres from 'postgres'
import { Type } from 'typebox'
import { migrate } from '../../src/platform/host/data/migrate.ts'
import { type Client, type Contract, command, defineContract } from '../../src/platform/kit/contract.ts'
import { defineModule, type Manifest, type ModulePlugin } from '../../src/platform/kit/module.ts'
import { newId, sql } from '../../src/platform/kit/tables.ts'

const Amount = Type.Integer()
const Deed = Type.String()

/** Keeps entries: each `add` with its own key makes one. Nothing can be added when there is nothing to add. */
export const ledger = defineContract('ledger', {
  errors: { NothingToAdd: { status: 409, message: 'There is nothing to add.' } },
  procedures: {
    add: command({
      input: Type.Object({ deed: Deed, amount: Amount }),
      output: Type.Object({ entry: Type.String(), amount: Amount }),
      throws: ['NothingToAdd'],
    }),
  },
})

/** Makes two entries at the ledger, one after the other, and notes that it has. */
export const broker = defineContract('broker', {
  procedures: {
    move: command({
      input: Type.Object({ deed: Deed, amount: Amount }),
      output: Type.Object({ from: Type.String(), to: Type.String() }),
    }),
  },
})

const driver = defineContract('driver', {})

export interface Clients {
  readonly ledger: Client<typeof ledger>
  readonly broker: Client<typeof broker>
}

/** @param options.once `false`: a ledger that forgets to use `app.once`, for a look at whether that is found out */
export function simulatedModules(options: { once: boolean }): { catalogue: readonly Manifest[]; clients(): Clients } {
  let clients: Clients
  const ledgerPlugin: ModulePlugin<typeof ledger> = (app) =>
    app.implement({
      add({ deed, amount }, context) {
        const { db } = app
        const once: typeof app.once = options.once ? app.once : (_context: unknown, work: any) => db.transaction(work)
        return once(context, async (tx) => {
          const entry = newId()
          await tx.execute(sql`insert into entries (id, deed, amount) values (${entry}::uuid, ${deed}, ${amount})`)
          if (amount === 0) throw new ledger.errors.NothingToAdd()
          return { entry, amount }
        })
      },
    })
  const brokerPlugin: ModulePlugin<typeof broker> = (app) => {
    const { add } = app.call(ledger)
    app.implement({
      async move({ deed, amount }, context) {
        const [from, to] = [`${deed}/from`, `${deed}/to`]
        const taken = await add({ deed: from, amount: -amount }, { idempotencyKey: from })
        const given = await add({ deed: to, amount }, { idempotencyKey: to })
        return app.once(context, async (tx) => {
          await tx.execute(sql`insert into moves (deed) values (${deed})`)
          return { from: taken.entry, to: given.entry }
        })
      },
    })
  }
  const driverPlugin: ModulePlugin = (app) => {
    clients = { ledger: app.call(ledger), broker: app.call(broker) }
  }
  const moduleOf = <C extends Contract>(contract: C, plugin: ModulePlugin<C>, uses: Contract[] = []) =>
    defineModule(contract, { uses, plugin: async () => ({ default: plugin }) }) as unknown as Manifest
  const catalogue = [
    moduleOf(ledger, ledgerPlugin),
    moduleOf(broker, brokerPlugin, [ledger]),
    moduleOf(driver, driverPlugin, [ledger, broker]),
  ]
  return { catalogue, clients: () => clients }
}

/** Makes the schemas and tables of these modules: real ones have migrations. */
export async function provideTables(databaseUrl: string): Promise<void> {
  await migrate(databaseUrl, { folder: 'migrations', schemas: [ledger, broker, driver].map(({ name }) => name) })
  const owner = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  for (const { name } of [ledger, broker])
    await owner.unsafe(`
      create table ${name}.idempotency_keys (
        caller text not null, key text not null, fingerprint text not null, result text,
        created_at timestamptz not null default now(), primary key (caller, key))`)
  await owner.unsafe(`
    create table ledger.entries (id uuid primary key, deed text not null, amount integer not null);
    create table broker.moves (deed text not null)`)
  await owner.end()
}
