import type { ModuleServices } from '../../kit/module.ts'
import { RequestContext } from '../request-context.ts'
import { spanBelow } from './tracer.ts'

/** What modules have of traces: work that is done later stays in the trace of what made it necessary. */
export const traces: ModuleServices['traces'] = {
  mark: () => RequestContext.current()?.span?.traceparent ?? null,
  async goOn(mark, name, work) {
    const span = spanBelow(mark, name, 'internal')
    if (!span) return work()
    try {
      const result = await work()
      span.end()
      return result
    } catch (error) {
      span.end(error)
      throw error
    }
  },
}
