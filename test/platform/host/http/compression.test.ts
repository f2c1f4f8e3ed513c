import { once } from 'node:events'
import { request as open } from 'node:http'
import { PassThrough } from 'node:stream'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { resource } from '../../../../src/platform/kit/etags.ts'
import { bootWith, moduleOf } from '../boot.ts'

const { build } = await bootWith(t)
const desk = defineContract('compression-desk', { routes: ['/api/desk'] })
const anyone = { config: { allow: 'anyone' } } as const

const long = { text: 'ü and some more text '.repeat(200) }
const SHORT = 1_000

const module = moduleOf(desk, (app) => {
  app.get('/api/desk/long', anyone, async (request, reply) => resource(request, reply, long, '"7"'))
  app.get('/api/desk/short', anyone, async () => 'x'.repeat(SHORT))
  app.get('/api/desk/empty', anyone, async (_request, reply) => reply.code(204).send())
  app.get('/api/desk/encoded', anyone, async (_request, reply) =>
    reply.header('content-encoding', 'x-own').send('x'.repeat(2 * SHORT)),
  )
  app.get('/api/desk/varied', anyone, async (_request, reply) =>
    reply.header('vary', 'Accept-Language, Accept-Encoding').send({ long }),
  )
  app.get('/api/desk/fails', anyone, async () => {
    throw new Error('x'.repeat(10_000))
  })
  app.get('/api/desk/stream', { config: { allow: 'anyone', stream: true } }, async (_request, reply) => {
    const stream = new PassThrough()
    stream.write(`data: ${'x'.repeat(2_000)}\n\n`)
    return reply.header('content-type', 'text/event-stream').send(stream)
  })
})

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

/** Asks as it is written: `fetch` would decompress. */
async function ask(url: string, accept?: string, method = 'GET', more: Record<string, string> = {}): Promise<Answer> {
  const headers = { ...(accept !== undefined && { 'accept-encoding': accept }), ...more }
  const request = open(url, { method, headers, agent: false }).end()
  const [response] = await once(request, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }
}

const DECODERS: Record<string, (body: Buffer) => Buffer> = { br: brotliDecompressSync, gzip: gunzipSync }
const PLAIN = JSON.stringify({ data: long })

function isEncoded(t: Test, { status, headers, body }: Answer, encoding: string | undefined, accept: string) {
  t.match([status, headers['content-encoding']], [200, encoding], accept)
  const plain = encoding ? DECODERS[encoding]!(body) : body
  t.equal(plain.toString(), PLAIN)
  if (encoding) t.ok(body.length < PLAIN.length / 4)
  if (headers['content-length'] !== undefined) t.equal(Number(headers['content-length']), body.length)
  t.equal(headers.vary, 'accept-encoding')
  t.equal(headers.etag, '"7"', 'it names a version, whatever the bytes')
}

t.setTimeout(240_000)
const main = await build(t, [module])
const { api: alone } = await main.listen()
const inside = await build(t, [module], { EDGE: 'false' })
const { api: COMPRESSION_DESK_URL } = await inside.listen()
const gateway = await build(t, [module], { MODULES: 'none', COMPRESSION_DESK_URL })
const { api: through } = await gateway.listen()

for (const [place, base] of [
  ['in one process', alone],
  ['through a gateway', through],
] as const) {
  const url = (name: string) => `${base}/api/desk/${name}`

  t.test(`an answer is compressed as the caller accepts it, best first: ${place}`, async (t) => {
    for (const [accept, encoding] of [
      ['br', 'br'],
      ['gzip', 'gzip'],
      ['gzip, deflate, br', 'br'],
      ['gzip;q=1, br;q=0.1', 'br'],
      ['gzip, br;q=0', 'gzip'],
      ['*', 'br'],
      ['GZIP', 'gzip'],
      ['identity;q=0, gzip', 'gzip'],
      ['deflate', undefined],
      ['identity', undefined],
      ['', undefined],
      ['br;q=0', undefined],
      ['*;q=0', undefined],
      ['nonsense;;q=;', undefined],
      [undefined, undefined],
    ] as const)
      isEncoded(t, await ask(url('long'), accept), encoding, String(accept))
  })

  t.test(`what would not become smaller, has no body, or is encoded already is left alone: ${place}`, async (t) => {
    const short = await ask(url('short'), 'br')
    t.match([short.status, short.headers['content-encoding'], short.headers.vary], [200, undefined, undefined])
    t.equal(short.body.length, SHORT)
    const empty = await ask(url('empty'), 'br')
    t.match([empty.status, empty.headers['content-encoding'], empty.body.length], [204, undefined, 0])
    const encoded = await ask(url('encoded'), 'br')
    t.match([encoded.headers['content-encoding'], encoded.body.length], ['x-own', 2 * SHORT])
    const known = await ask(url('long'), 'br', 'GET', { 'if-none-match': '"7"' })
    t.match(
      [known.status, known.headers.etag, known.headers['content-encoding'], known.body.length],
      [304, '"7"', undefined, 0],
    )
  })

  t.test(`HEAD tells what GET would, without a body: ${place}`, async (t) => {
    for (const accept of ['br', 'identity']) {
      const [head, get] = [await ask(url('long'), accept, 'HEAD'), await ask(url('long'), accept)]
      t.equal(head.status, 200)
      t.equal(head.body.length, 0)
      for (const name of ['content-encoding', 'content-type', 'etag', 'vary'])
        t.equal(head.headers[name], get.headers[name], `${accept}: ${name}`)
    }
  })

  t.test(`problems are read as well, and what varies is listed once: ${place}`, async (t) => {
    const problem = await ask(url('fails'), 'br')
    t.match([problem.status, problem.headers['content-type']], [500, 'application/problem+json'])
    const plain = problem.headers['content-encoding'] ? brotliDecompressSync(problem.body) : problem.body
    t.equal(JSON.parse(plain.toString()).code, 'Internal')
    t.equal((await ask(url('varied'), 'br')).headers.vary, 'Accept-Language, Accept-Encoding')
  })

  t.test(`events are passed on as they come, and not compressed: ${place}`, async (t) => {
    const request = open(url('stream'), { headers: { 'accept-encoding': 'br, gzip' }, agent: false }).end()
    const [response] = await once(request, 'response')
    t.equal(response.headers['content-encoding'], undefined)
    const [chunk] = await once(response, 'data')
    t.match(String(chunk), /^data: x/)
    request.on('error', () => {}).destroy()
  })

  t.test(`many at once each get their own: ${place}`, async (t) => {
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => ask(url('long'), ['br', 'gzip', ''][n % 3])))
    for (const [n, { headers, body }] of answers.entries()) {
      const encoding = ['br', 'gzip', undefined][n % 3]
      t.equal(headers['content-encoding'], encoding)
      t.equal((encoding ? DECODERS[encoding]!(body) : body).toString(), PLAIN)
    }
  })
}
