/**
 * What has been opened, to be closed in reverse order: what AsyncDisposableStack is in Node 24 and later. Disposing of it
 * closes everything, also if a close fails; the first failure is thrown.
 */
export class Unwinding implements AsyncDisposable {
  #closes: (() => unknown)[] = []

  /** Closes this by its own disposal. */
  use<T extends AsyncDisposable>(opened: T): T {
    this.#closes.push(() => opened[Symbol.asyncDispose]())
    return opened
  }

  defer(close: () => unknown): void {
    this.#closes.push(close)
  }

  /** Hands everything over: this one has nothing to close any more. */
  move(): Unwinding {
    const next = new Unwinding()
    next.#closes = this.#closes
    this.#closes = []
    return next
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (let close = this.#closes.pop(); close !== undefined; close = this.#closes.pop()) {
      try {
        await close()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
