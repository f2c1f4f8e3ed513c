/** A request to the operators' listener, which the primary has and a worker answers. */
export interface Question {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** An answer of the given status that says what is wrong. */
export const problem = (status: number, detail: string): Answer => ({
  status,
  contentType: 'application/problem+json; charset=utf-8',
  body: JSON.stringify({ type: 'about:blank', status, detail }),
})

/** What a worker serves, and on what. */
export interface Serving {
  readonly urls: { readonly api: string; readonly ops: string; readonly grpc?: string }
  readonly runsOn: { readonly databases: readonly string[]; readonly queue: string; readonly sessions: string }
}

export type ToWorker = { readonly kind: 'question'; readonly id: number; readonly question: Question }

export type FromWorker =
  | { readonly kind: 'ready'; readonly serving: Serving }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer }

/** What a worker finds its number in: 1 to `WORKERS`. */
export const NUMBER = 'SEAM_WORKER'
