const NEWLINE = 10

/** Takes apart what arrives in pieces: gives out lines as soon as they are complete. */
export class LineSplitter {
  readonly #longest: number
  #rest: Buffer[] = []
  #length = 0

  /** @param longest how long a line may be, in bytes */
  constructor(longest: number) {
    this.#longest = longest
  }

  /**
   * The lines that this piece completes, without their ends.
   *
   * @throws {Error} when one is too long
   */
  push(piece: Buffer): string[] {
    const end = piece.lastIndexOf(NEWLINE)
    if (end < 0) {
      this.#keep(piece)
      return []
    }
    const whole = piece.subarray(0, end)
    if (this.#rest.length > 0) this.#keep(piece.subarray(0, piece.indexOf(NEWLINE)))
    const text =
      this.#rest.length > 0 ? Buffer.concat([...this.#rest.slice(0, -1), whole]).toString() : whole.toString()
    this.#rest = []
    this.#length = 0
    if (end + 1 < piece.length) this.#keep(piece.subarray(end + 1))
    return text.split('\n')
  }

  #keep(piece: Buffer): void {
    this.#rest.push(piece)
    this.#length += piece.length
    if (this.#length > this.#longest) throw new Error(`A line is longer than ${this.#longest} bytes.`)
  }
}
