/**
 * Stands in a generated request for something that only the running system can have made: an id, a token, an ETag. Which
 * one it is is found out when the request is sent, so the same seed makes the same requests on another day.
 */
export class Known {
  readonly name: string
  readonly n: number
  /** Used while nothing of that name is known. */
  readonly otherwise: unknown

  constructor(name: string, n: number, otherwise: unknown) {
    this.name = name
    this.n = n
    this.otherwise = otherwise
  }

  toString(): string {
    return `Known(${this.name}, ${this.n})`
  }
}

/** So many of each name are remembered: the newest, since the older ones are likely to be gone. */
const MOST = 100

/** What has been seen in answers, by name; of some things it is known whose they are. */
export class Knowledge {
  readonly #things = new Map<string, { value: unknown; owner: string | undefined }[]>()
  readonly #spared: ReadonlySet<unknown>

  /** @param spared what is never asked for */
  constructor(spared: readonly unknown[]) {
    this.#spared = new Set(spared)
  }

  add(name: string, value: unknown, owner?: string): void {
    if (this.#spared.has(value)) return
    const things = this.#things.get(name) ?? []
    if (things.some((thing) => thing.value === value && thing.owner === owner)) return
    things.push({ value, owner })
    if (things.length > MOST) things.shift()
    this.#things.set(name, things)
  }

  /** The value that a {@link Known} stands for; in three of four cases one of the caller's own, if there is any. */
  find({ name, n, otherwise }: Known, caller: string | undefined): unknown {
    const all = this.#things.get(name) ?? []
    const own = all.filter(({ owner }) => owner !== undefined && owner === caller)
    const things = own.length > 0 && n % 4 > 0 ? own : all
    // From the end: what is new is there still.
    return things.length > 0 ? things.at(-1 - (n % things.length))!.value : otherwise
  }

  /** A copy of a value in which nothing is unknown. */
  resolve(value: unknown, caller: string | undefined): unknown {
    if (value instanceof Known) return this.find(value, caller)
    if (Array.isArray(value)) return value.map((part) => this.resolve(part, caller))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, this.resolve(part, caller)]))
  }
}
