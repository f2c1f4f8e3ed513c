export type SpanKind = 'server' | 'client' | 'internal' | 'producer' | 'consumer'
export type Attributes = Record<string, string | number>

/** One piece of work in a trace, from its beginning to its end. */
export interface Span {
  /** What names it as the parent of other spans, here or elsewhere. */
  readonly traceparent: string
  note(attributes: Attributes): void
  /** Ends it, once; with an error, or a word for one, as failed. Of errors only the code is told: messages may be about people. */
  end(failure?: unknown): void
}

export interface Tracer {
  /**
   * @param parent a `traceparent`; without one a new trace begins
   * @returns a traceparent alone, when it was drawn that this trace is not recorded
   */
  begin(name: string, kind: SpanKind, parent: string | undefined, attributes?: Attributes): Span | string
}

/** The tracer of this process, if traces are wanted (`OTEL_EXPORTER_OTLP_ENDPOINT`). Whoever could begin a span asks here first. */
export const tracing: { tracer: Tracer | undefined } = { tracer: undefined }

/** What says of a traceparent that its trace is recorded. */
export const isRecorded = (traceparent: string): boolean => traceparent.endsWith('1')

/** A span below another one, if there are traces and this one is recorded. */
export function spanBelow(
  parent: string | null | undefined,
  name: string,
  kind: SpanKind,
  attributes?: Attributes,
): Span | undefined {
  if (!tracing.tracer || !parent || !isRecorded(parent)) return undefined
  const span = tracing.tracer.begin(name, kind, parent, attributes)
  return typeof span === 'string' ? undefined : span
}
