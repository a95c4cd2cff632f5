const ignore = (): void => undefined

/** Runs work of one lane in the order of the calls. Different lanes run at the same time. */
export class Lanes {
  readonly #tails = new Map<string, Promise<void>>()

  run<T>(lane: string, work: () => Promise<T>): Promise<T> {
    const result = this.#tails.get(lane)?.then(work) ?? work()
    const tail = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(lane) === tail) this.#tails.delete(lane)
    })
    this.#tails.set(lane, tail)
    return result
  }

  /** Resolves when the work that was given before has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#tails.values())
  }
}
