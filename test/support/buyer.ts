import { type Client, type Contract, defineContract } from '../../src/platform/kit/contract.ts'
import { defineModule, type Manifest } from '../../src/platform/kit/module.ts'
import { shop } from './shop.ts'

/** A module that orders at the shop, and hands its client to whoever tests. */
export function buyerModule(name: string): { module: Manifest; client(): Client<typeof shop> } {
  let client: Client<typeof shop>
  const contract: Contract = defineContract(name, {})
  const module = defineModule(contract, {
    uses: [shop],
    plugin: async () => ({
      default: (app) => {
        client = app.call(shop)
      },
    }),
  })
  return { module, client: () => client }
}
