import type { Delivery } from '../delivery.ts'

/** The attributes of an event by CloudEvents 1.0, with its extensions for partitioning, sequence and distributed tracing. */
export function attributesOf(event: Delivery): Record<string, string> {
  const { id, publisher, name, version, key, sequence, occurredAt, traceparent } = event
  return {
    specversion: '1.0',
    id,
    source: `/seam/${publisher}`,
    type: name,
    subject: key,
    time: occurredAt,
    datacontenttype: 'application/json',
    dataschema: `urn:seam:${publisher}:${name}:${version}`,
    partitionkey: key,
    // Sorts as text, as the extension asks for.
    sequence: String(sequence).padStart(16, '0'),
    ...(traceparent !== null && { traceparent }),
  }
}

/** A whole CloudEvent as JSON (`application/cloudevents+json`). */
export const jsonOf = (event: Delivery): string => JSON.stringify({ ...attributesOf(event), data: event.data })
