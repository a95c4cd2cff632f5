/** A request that a server has refused, or could not answer. */
export class RequestProblem extends Error {
  /** Undefined: no answer came. */
  readonly status: number | undefined

  constructor(message: string, status?: number) {
    super(message)
    this.status = status
  }
}
