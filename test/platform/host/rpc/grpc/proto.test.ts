import protobuf from 'protobufjs'
import t from 'tap'
import { Type } from 'typebox'
import { catalogue } from '../../../../../src/modules/catalogue.ts'
import { protoOf } from '../../../../../src/platform/host/rpc/grpc/proto.ts'
import { serviceOf } from '../../../../../src/platform/host/rpc/grpc/service.ts'
import { command, defineContract, query } from '../../../../../src/platform/kit/contract.ts'

const library = defineContract('book-shop', {
  errors: {
    NotThere: { status: 404, message: 'No.' },
    Taken: { status: 409, message: 'Taken.' },
  },
  procedures: {
    find: query({
      input: Type.Object({ id: Type.String({ description: 'The\nISBN.' }) }),
      output: Type.Object({
        title: Type.String(),
        subTitle: Type.Optional(Type.String()),
        kind: Type.Enum(['novel', 'poem']),
        price: Type.Number(),
        pages: Type.Integer({ minimum: 1, maximum: 10_000 }),
        sold: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
        age: Type.Integer(),
        open: Type.Boolean(),
        author: Type.Object({ name: Type.String(), born: Type.Union([Type.Integer(), Type.Null()]) }),
        tags: Type.Array(Type.String()),
        editions: Type.Array(Type.Object({ year: Type.Integer() })),
        shelves: Type.Optional(Type.Array(Type.Number())),
        grid: Type.Array(Type.Array(Type.Number())),
        note: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        extra: Type.Record(Type.String(), Type.Unknown()),
        none: Type.Null(),
      }),
      throws: ['NotThere', 'Taken'],
    }),
    burn: command({ input: Type.Null(), output: Type.Array(Type.String()) }),
  },
})

t.test('a contract as .proto: what each construct of a schema becomes', async (t) => {
  const text = protoOf(library)
  const body = text.slice(text.indexOf('syntax = '))
  t.equal(
    body,
    `syntax = "proto3";

package seam.book_shop;

service BookShopService {
  // A query: safe to repeat. Errors: NotThere (NOT_FOUND), Taken (ALREADY_EXISTS).
  rpc Find(FindRequest) returns (FindResponse);
  // A command: it changes something.
  rpc Burn(BurnRequest) returns (BurnResponse);
}

message FindRequest {
  // The ISBN.
  optional string id = 1;
  // Only where text holds half of a surrogate pair: the whole as JSON, and no other field.
  optional string seam_json = 536870911;
}

message FindResponse {
  optional string title = 1;
  // May be absent.
  optional string sub_title = 2;
  optional string kind = 3;
  optional double price = 4;
  optional int32 pages = 5;
  optional int64 sold = 6;
  // An integer.
  optional double age = 7;
  optional bool open = 8;
  message Author {
    optional string name = 1;
    // An integer. Absent: null.
    optional double born = 2;
  }
  optional Author author = 9;
  repeated string tags = 10;
  message Editions {
    // An integer.
    optional double year = 1;
  }
  repeated Editions editions = 11;
  message Shelves {
    repeated double items = 1;
  }
  // May be absent.
  optional Shelves shelves = 12;
  message Grid {
    repeated double items = 1;
  }
  repeated Grid grid = 13;
  message Note {
    // Absent: null.
    optional string value = 1;
  }
  // May be absent.
  optional Note note = 14;
  // JSON text.
  optional string extra = 15;
  message None {}
  // There when it is null.
  optional None none = 16;
  // Only where text holds half of a surrogate pair: the whole as JSON, and no other field.
  optional string seam_json = 536870911;
}

message BurnRequest {
  // Only where text holds half of a surrogate pair: the whole as JSON, and no other field.
  optional string seam_json = 536870911;
}

message BurnResponse {
  repeated string items = 1;
  // Only where text holds half of a surrogate pair: the whole as JSON, and no other field.
  optional string seam_json = 536870911;
}
`,
  )
})

t.test('names that Protocol Buffers cannot have, or not twice, become others, and JSON keeps its own', async (t) => {
  const odd = defineContract('odd', {
    procedures: {
      same: query({
        input: Type.Object({
          firstName: Type.String(),
          first_name: Type.String(),
          'a "b"\n': Type.String(),
          field_3: Type.String(),
          URL: Type.String(),
          seamJson: Type.String(),
          message: Type.String(),
        }),
        output: Type.Null(),
      }),
      Same: query({ input: Type.Null(), output: Type.Null() }),
    },
  })
  const text = protoOf(odd)
  const fields = [...text.matchAll(/^ {2}optional string (.*);$/gm)].map(([, field]) => field)
  t.strictSame(fields.slice(0, 7), [
    'first_name = 1',
    'field_2 = 2 [json_name = "first_name"]',
    'field_3 = 3 [json_name = "a \\"b\\"\\n"]',
    'field_4 = 4 [json_name = "field_3"]',
    'u_r_l = 5 [json_name = "URL"]',
    'field_6 = 6 [json_name = "seamJson"]',
    'message = 7',
  ])
  t.strictSame(
    Object.values(serviceOf(odd).methods).map(({ path }) => path),
    ['/seam.odd.OddService/Same', '/seam.odd.OddService/Procedure2'],
  )
  t.doesNotThrow(() => protobuf.parse(text).root.resolveAll())
})

t.test('the contracts of all modules can be printed, and read', async (t) => {
  for (const { contract } of catalogue) {
    const { root } = protobuf.parse(protoOf(contract))
    root.resolveAll()
    const service = root.lookupService(`${serviceOf(contract).package}.${serviceOf(contract).name}`)
    t.equal(service.methodsArray.length, Object.keys(contract.procedures).length, contract.name)
  }
})
