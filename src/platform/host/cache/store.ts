/**
 * Keeps answers, each with the versions that its tags had before the call was made: when a tag gets another version, all
 * answers that were asked for before are wrong, also those that are on their way still. Never rejects.
 */
export interface CacheStore {
  /** For people: what it runs on. */
  readonly name: string
  /** Whether all processes see the same; if not, each must be told what is outdated. */
  readonly shared: boolean
  /** What is kept under a key, and the present versions of the tags. Undefined: the store cannot be asked at the moment. */
  look(key: string, tags: readonly string[]): Promise<Look | undefined>
  /**
   * Keeps a text, which is believed for as long as the tags have these versions.
   *
   * @param look what was found under the key before the text was made
   * @param life for how long at most, in milliseconds
   */
  keep(key: string, text: string, look: Look, life: number): Promise<void>
  /**
   * Gives tags another version. False: others may not see it (yet), but this process will, from now on: it believes nothing
   * before it has reached the store.
   */
  outdate(tags: readonly string[]): Promise<boolean>
  close(): Promise<void>
}

export interface Look {
  /** The versions of the tags, as one word. */
  readonly versions: string
  /** Only what is still right. */
  readonly kept: Kept | undefined
}

export interface Kept {
  readonly text: string
  /** The milliseconds that it will be kept. */
  readonly left: number
}
