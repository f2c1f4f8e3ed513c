/** Finds the instances of modules that run in other processes. */
export interface Discovery {
  /**
   * The origin (`http://host:port`) of an instance to ask next.
   *
   * @throws {Unavailable} when none is known
   */
  pick(module: string): string
}
