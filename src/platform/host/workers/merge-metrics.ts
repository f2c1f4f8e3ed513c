/**
 * What several workers say of themselves, in Prometheus' text format, as one text: each series gets the label `worker`.
 * They are not added up, so that an alert about one process means one process, and one that begins again looks like that.
 */
export function mergeMetrics(texts: ReadonlyMap<number, string>): string {
  const families = new Map<string, string[]>()
  for (const [worker, text] of texts)
    for (const family of text.trim().split('\n\n')) {
      const [help = '', type = '', ...samples] = family.split('\n')
      const head = `${help}\n${type}`
      families.set(head, [...(families.get(head) ?? []), ...samples.map((sample) => labelled(sample, worker))])
    }
  return `${[...families].map(([head, samples]) => [head, ...samples].join('\n')).join('\n\n')}\n`
}

/** `name{labels} value` or `name value`. */
function labelled(sample: string, worker: number): string {
  const name = /^[\w:]+/.exec(sample)?.[0] ?? ''
  const rest = sample.slice(name.length)
  return rest.startsWith('{') ? `${name}{worker="${worker}",${rest.slice(1)}` : `${name}{worker="${worker}"}${rest}`
}
