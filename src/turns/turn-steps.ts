import type { TurnStep } from '../store/store.ts'

/** More than an hour's turn has. A hostile agent could make any number. */
const MAX_STEPS = 1_000

/** What a turn did, step by step. The first steps are kept, in the order in which they ended. */
export class TurnSteps {
  readonly #steps: TurnStep[] = []

  get all(): readonly TurnStep[] {
    return this.#steps
  }

  /** False: there is no room. */
  add(step: TurnStep): boolean {
    if (this.#steps.length >= MAX_STEPS) return false
    this.#steps.push(step)
    return true
  }
}
