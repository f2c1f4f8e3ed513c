import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import { codecOf } from '../../src/platform/host/codec.ts'
import { serve } from '../lib/children.ts'
import { example, getUser, type INPUT } from '../lib/example.ts'
import { service } from './grpc.ts'

/** The example as a unary method of @grpc/grpc-js that checks its input. */
await serve(async () => {
  const codec = codecOf(example.procedures.getUser.input)
  const server = new Server()
  server.addService(service, {
    getUser({ request }: ServerUnaryCall<typeof INPUT, object>, answer: sendUnaryData<object>) {
      if (!codec.check(request)) return answer({ code: 3 })
      void getUser(request).then((user) => answer(null, user))
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  )
  return { ready: { url: `127.0.0.1:${port}` } }
})
