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
const FEW = 3

/** Who asks, and for what: the last part of a path. */
export interface Asking {
  caller: string | undefined
  page: string | undefined
}

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

  /**
   * The value that a {@link Known} stands for: one that is good for the page that is asked, if there is any, and in three of
   * four cases one of the caller's own; half of the time one of the newest.
   */
  find({ name, n, otherwise }: Known, { caller, page }: Asking): unknown {
    const all = this.#things.get(`${name} of ${page}`) ?? this.#things.get(name) ?? []
    const own = all.filter(({ owner }) => owner !== undefined && owner === caller)
    const things = own.length > 0 && n % 4 > 0 ? own : all
    const among = Math.min(things.length, n % 2 ? FEW : MOST)
    return among > 0 ? things.at(-1 - (n % among))!.value : otherwise
  }

  /** A copy of a value in which nothing is unknown. */
  resolve(value: unknown, asking: Asking): unknown {
    if (value instanceof Known) return this.find(value, asking)
    if (Array.isArray(value)) return value.map((part) => this.resolve(part, asking))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, this.resolve(part, asking)]))
  }
}
