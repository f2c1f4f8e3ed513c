/** The statuses of gRPC that errors have, by name: their numbers are fixed. */
export const STATUS_CODES = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const

const BY_HTTP_STATUS: Readonly<Record<number, keyof typeof STATUS_CODES>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  409: 'ALREADY_EXISTS',
  410: 'NOT_FOUND',
  412: 'FAILED_PRECONDITION',
  422: 'INVALID_ARGUMENT',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
}

/** The name of the gRPC status that stands for an HTTP status. */
export const grpcStatusName = (httpStatus: number): keyof typeof STATUS_CODES =>
  BY_HTTP_STATUS[httpStatus] ?? (httpStatus < 500 ? 'FAILED_PRECONDITION' : 'INTERNAL')

/** The gRPC status that stands for an HTTP status. */
export const grpcStatus = (httpStatus: number): number => STATUS_CODES[grpcStatusName(httpStatus)]
