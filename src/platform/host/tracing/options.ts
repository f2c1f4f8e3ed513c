import type { Placement } from '../placement.ts'

/** The kinds of `OTEL_TRACES_SAMPLER` that keep a trace in one piece: whoever begins it decides for all. */
export const SAMPLERS = ['parentbased_always_on', 'parentbased_always_off', 'parentbased_traceidratio'] as const

export interface TracingOptions {
  /** Where spans are sent: OTLP over HTTP, as JSON. */
  readonly url: string
  readonly serviceName: string
  readonly sampler: (typeof SAMPLERS)[number]
  /** Of `parentbased_traceidratio`. */
  readonly ratio: number
}

/** What the variables of OpenTelemetry say; undefined: no traces are wanted. */
export function tracingOptions(
  vars: {
    OTEL_EXPORTER_OTLP_ENDPOINT?: string
    OTEL_SERVICE_NAME?: string
    OTEL_TRACES_SAMPLER: (typeof SAMPLERS)[number]
    OTEL_TRACES_SAMPLER_ARG: number
  },
  { hosted, remote }: Placement,
): TracingOptions | undefined {
  const endpoint = vars.OTEL_EXPORTER_OTLP_ENDPOINT
  if (endpoint === undefined) return undefined
  const modules = hosted.map(({ contract }) => contract.name).join('-')
  return {
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
    serviceName: vars.OTEL_SERVICE_NAME ?? (remote.length === 0 ? 'seam' : `seam-${modules || 'gateway'}`),
    sampler: vars.OTEL_TRACES_SAMPLER,
    ratio: vars.OTEL_TRACES_SAMPLER_ARG,
  }
}
