/** See `ModuleServices.task`. */
export interface Task {
  /** Unique in the system. */
  readonly name: string
  /** The arguments, for people: `<email> <role>`. */
  readonly usage: string
  readonly summary: string
  run(args: readonly string[]): Promise<string>
}
