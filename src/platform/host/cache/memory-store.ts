import { LruMap } from 'toad-cache'
import type { CacheStore, Look } from './store.ts'

interface Entry {
  text: string
  versions: string
  /** On the clock of `performance.now()`. */
  ends: number
  bytes: number
}

/**
 * Keeps answers in this process. What was used longest ago goes first.
 *
 * @param options.entries the most answers, and a quarter of the most tags, that are kept (10,000)
 * @param options.bytes the most that answers weigh together (64 MiB)
 */
export class MemoryStore implements CacheStore {
  readonly name = 'memory'
  readonly shared = false
  readonly #most: number
  readonly #mostBytes: number
  readonly #entries: LruMap<Entry>
  readonly #versions: LruMap<number>
  #bytes = 0
  /** No version comes twice, so that one that was forgotten revives nothing. */
  #lastVersion = 0

  constructor({ entries = 10_000, bytes = 64 * 1024 * 1024 }: { entries?: number; bytes?: number } = {}) {
    this.#most = entries
    this.#mostBytes = bytes
    this.#entries = new LruMap(entries)
    this.#versions = new LruMap(4 * entries)
  }

  async look(key: string, tags: readonly string[]): Promise<Look> {
    const versions = tags.map((tag) => this.#versionOf(tag)).join()
    const entry = this.#entries.get(key)
    const left = entry ? entry.ends - performance.now() : 0
    if (entry && left > 0 && entry.versions === versions) return { versions, kept: { text: entry.text, left } }
    if (entry) this.#drop(key, entry)
    return { versions, kept: undefined }
  }

  async keep(key: string, text: string, { versions }: Look, life: number): Promise<void> {
    const bytes = Buffer.byteLength(text)
    if (bytes > this.#mostBytes) return
    const before = this.#entries.get(key)
    if (before) this.#drop(key, before)
    while (this.#entries.size >= this.#most || this.#bytes + bytes > this.#mostBytes) {
      const { key: oldest, value } = this.#entries.first as { key: string; value: Entry }
      this.#drop(oldest, value)
    }
    this.#entries.set(key, { text, versions, ends: performance.now() + life, bytes })
    this.#bytes += bytes
  }

  async outdate(tags: readonly string[]): Promise<boolean> {
    for (const tag of tags) this.#versions.set(tag, ++this.#lastVersion)
    return false
  }

  async close(): Promise<void> {
    this.#entries.clear()
    this.#versions.clear()
    this.#bytes = 0
  }

  #versionOf(tag: string): number {
    const known = this.#versions.get(tag)
    if (known !== undefined) return known
    this.#versions.set(tag, ++this.#lastVersion)
    return this.#lastVersion
  }

  #drop(key: string, { bytes }: Entry): void {
    this.#entries.delete(key)
    this.#bytes -= bytes
  }
}
