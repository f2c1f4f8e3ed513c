type Call = () => Promise<unknown>

/** How a worker calls: one call after the other, in batches that are started together, or always so many under way. */
export interface Drive {
  readonly mode: 'sequence' | 'batches' | 'flight'
  /** How many calls a batch has, or are under way. */
  readonly size?: number
  readonly milliseconds: number
}

export interface DriveResult {
  readonly calls: number
  /** Of time for each call; with several under way that is not how long one takes. */
  readonly nanoseconds: number
  readonly perSecond: number
}

/** Calls for a while. Where calls are cheap the clock is read rarely, for it costs as much as a call. */
export async function drive(call: Call, { mode, size = 64, milliseconds }: Drive): Promise<DriveResult> {
  const started = performance.now()
  const until = started + milliseconds
  const calls = await modes[mode](call, until, size)
  const took = performance.now() - started
  return { calls, nanoseconds: (took * 1e6) / calls, perSecond: (calls / took) * 1000 }
}

const modes = {
  async sequence(call: Call, until: number): Promise<number> {
    let calls = 0
    for (; performance.now() < until; calls += 1000) for (let i = 0; i < 1000; i++) await call()
    return calls
  },

  async batches(call: Call, until: number, size: number): Promise<number> {
    let calls = 0
    while (performance.now() < until) {
      for (let i = 0; i < 16; i++, calls += size) {
        const batch: Promise<unknown>[] = []
        for (let j = 0; j < size; j++) batch.push(call())
        await Promise.all(batch)
      }
    }
    return calls
  },

  async flight(call: Call, until: number, size: number): Promise<number> {
    let calls = 0
    const caller = async () => {
      for (; performance.now() < until; calls++) await call()
    }
    await Promise.all(Array.from({ length: size }, caller))
    return calls
  },
}
