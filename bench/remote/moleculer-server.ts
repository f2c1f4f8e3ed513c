import { freePorts } from '../../test/support/ports.ts'
import { serve } from '../lib/children.ts'
import { getUser } from '../lib/example.ts'
import { broker } from './moleculer.ts'

/** The example as an action of Moleculer, which checks its input. */
await serve(async () => {
  const [port, callersPort] = (await freePorts(2)) as [number, number]
  const node = broker({ nodeID: 'server', port }, [{ nodeID: 'caller', port: callersPort }])
  node.createService({
    name: 'example',
    actions: {
      getUser: {
        params: { id: 'uuid' },
        handler: ({ params }: { params: { id: string } }) => getUser(params),
      },
    },
  })
  await node.start()
  return { ready: { port, callersPort } }
})
