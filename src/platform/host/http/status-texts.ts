/**
 * The names of HTTP statuses. Not by `import`: that makes a namespace of all that `node:http` has, its WebSocket among it,
 * which loads Node's own undici: 30 ms of the start.
 */
export const { STATUS_CODES } = process.getBuiltinModule('node:http')
