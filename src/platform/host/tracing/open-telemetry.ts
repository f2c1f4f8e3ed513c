import {
  type Context,
  diag,
  type Span as OtelSpan,
  SpanKind as OtelSpanKind,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { FastifyBaseLogger } from 'fastify'
import { RequestContext } from '../request-context.ts'
import { within } from '../within.ts'
import type { TracingOptions } from './options.ts'
import { type Attributes, type Span, type SpanKind, type Tracer, tracing } from './tracer.ts'

/** Spans that wait to be sent, at most; what is more is dropped. Some 2 MB. */
const WAITING = 4_096
/** How long they are gathered, how long one attempt to send them takes, and how long a stop waits for it, in milliseconds. */
const TIMES = { gather: 1_000, send: 5_000, stop: 1_500 }

const KINDS: Record<SpanKind, OtelSpanKind> = {
  internal: OtelSpanKind.INTERNAL,
  server: OtelSpanKind.SERVER,
  client: OtelSpanKind.CLIENT,
  producer: OtelSpanKind.PRODUCER,
  consumer: OtelSpanKind.CONSUMER,
}

/**
 * Begins to record traces and to send them by OTLP over HTTP. A collector that is away or slow costs spans, and nothing else.
 *
 * @returns what sends the last spans, within 1.5 s
 */
export function startTracing(options: TracingOptions, log: FastifyBaseLogger): { close(): Promise<void> } {
  let complained = false
  const complain = (message: string) => {
    // Spans are sent by a timer that some request has started.
    if (!complained)
      RequestContext.outside(() => log.warn({ reason: message }, 'traces cannot be sent (OTEL_EXPORTER_OTLP_ENDPOINT)'))
    complained = true
  }
  const silent = () => {}
  diag.setLogger({ error: complain, warn: silent, info: silent, debug: silent, verbose: silent })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': options.serviceName }),
    sampler: new ParentBasedSampler({ root: rootSampler(options) }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url: options.url, timeoutMillis: TIMES.send }),
        maxQueueSize: WAITING,
        scheduledDelayMillis: TIMES.gather,
        exportTimeoutMillis: TIMES.send,
      }),
    ],
  })
  const tracer = new OtelTracer(provider)
  tracing.tracer = tracer
  return {
    async close() {
      if (tracing.tracer === tracer) tracing.tracer = undefined
      await within(TIMES.stop, provider.shutdown()).catch((error) => complain(String(error)))
    },
  }
}

function rootSampler({ sampler, ratio }: TracingOptions) {
  if (sampler === 'parentbased_always_off') return new AlwaysOffSampler()
  return sampler === 'parentbased_traceidratio' ? new TraceIdRatioBasedSampler(ratio) : new AlwaysOnSampler()
}

class OtelTracer implements Tracer {
  readonly #tracer: ReturnType<TracerProvider['getTracer']>

  constructor(provider: TracerProvider) {
    this.#tracer = provider.getTracer('seam')
  }

  begin(name: string, kind: SpanKind, parent: string | undefined, attributes?: Attributes): Span | string {
    const options = { kind: KINDS[kind], ...(attributes && { attributes }) }
    const span = this.#tracer.startSpan(name, options, contextOf(parent))
    return span.isRecording() ? new RecordedSpan(span) : traceparentOf(span)
  }
}

class RecordedSpan implements Span {
  readonly traceparent: string
  readonly #span: OtelSpan

  constructor(span: OtelSpan) {
    this.traceparent = traceparentOf(span)
    this.#span = span
  }

  note(attributes: Attributes): void {
    this.#span.setAttributes(attributes)
  }

  end(failure?: unknown): void {
    if (failure !== undefined) {
      this.#span.setAttribute('error.type', typeof failure === 'string' ? failure : codeOf(failure))
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
  }
}

function codeOf(error: unknown): string {
  const { code, name, cause } = (error ?? {}) as { code?: unknown; name?: unknown; cause?: unknown }
  if (typeof code === 'string') return code
  return cause === undefined ? String(name ?? 'Error') : codeOf(cause)
}

function traceparentOf(span: OtelSpan): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-0${traceFlags & 1}`
}

function contextOf(traceparent: string | undefined): Context {
  if (traceparent === undefined) return ROOT_CONTEXT
  const [, traceId, spanId, flags] = traceparent.split('-') as [string, string, string, string]
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
  })
}
