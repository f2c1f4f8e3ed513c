/** Everything that keeps a process from starting, in one message for the person who starts it. */
export class BootError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[], options?: ErrorOptions) {
    super(`Seam cannot start:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`, options)
    this.name = 'BootError'
    this.faults = faults
  }
}
