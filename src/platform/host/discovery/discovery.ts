/** Finds the instances of modules that run in other processes. */
export interface Discovery {
  /**
   * The origin (`http://host:port`) of an instance to ask next.
   *
   * @throws {Unavailable} when none is known
   */
  pick(module: string): string
  /** All known origins of a module; empty when it has none. */
  all(module: string): readonly string[]
}
