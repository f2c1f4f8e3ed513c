import { credentials, makeClientConstructor, type ServiceDefinition } from '@grpc/grpc-js'

const toBytes = (value: object) => Buffer.from(JSON.stringify(value))
const fromBytes = (bytes: Buffer) => JSON.parse(bytes.toString())

/** JSON in gRPC's frames: of the ways to write a message the cheapest in Node.js. */
export const service: ServiceDefinition = {
  getUser: {
    path: '/example.Example/getUser',
    requestStream: false,
    responseStream: false,
    requestSerialize: toBytes,
    requestDeserialize: fromBytes,
    responseSerialize: toBytes,
    responseDeserialize: fromBytes,
  },
}

/** Calls a method that has one message for one. */
export function callerOf(url: string): (input: object) => Promise<unknown> {
  const Client = makeClientConstructor(service, 'Example')
  const client = new Client(url, credentials.createInsecure())
  return (input) =>
    new Promise((resolve, reject) =>
      client.getUser!(input, (error: Error | null, answer: unknown) => (error ? reject(error) : resolve(answer))),
    )
}
