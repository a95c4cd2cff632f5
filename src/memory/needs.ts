import { Estimate } from './estimate.ts'

const MIB = 2 ** 20

/** What a turn is taken to need before its agent is known: 105–145 MiB were measured without tools, and some room for those. */
const RUNNING_BYTES = 250 * MIB

/** What a worker between turns is taken to hold: 86 MiB were measured before the first turn, 132 after 21. */
const IDLE_BYTES = 150 * MIB

/** What one takes at its peak while it starts: 86 MiB were measured when it had. */
const STARTING_BYTES = 120 * MIB

/** Agents made up for one query each must not pile up. */
const MAX_AGENTS = 1_000

/** What is known of an agent's workers. */
export interface Needs {
  /** In a turn, with the tools that it runs: the peak. */
  readonly running: Estimate
  /** Between turns. */
  readonly idle: Estimate
  /** While they start: the peak. */
  readonly starting: Estimate
}

/** What the workers of each agent need, learned from measurements. */
export class LearnedNeeds {
  readonly #agents = new Map<string, Needs>()

  of(agent: string): Needs {
    let needs = this.#agents.get(agent)
    if (needs === undefined) {
      if (this.#agents.size >= MAX_AGENTS) this.#forgetOldest()
      needs = {
        running: new Estimate(RUNNING_BYTES),
        idle: new Estimate(IDLE_BYTES),
        starting: new Estimate(STARTING_BYTES),
      }
      this.#agents.set(agent, needs)
    }
    return needs
  }

  /** The most that a turn of any agent needs; the prior where none is known. */
  get largestTurn(): number {
    const known = [...this.#agents.values()].map(({ running }) => running.bytes)
    return known.length === 0 ? RUNNING_BYTES : Math.max(...known)
  }

  [Symbol.iterator](): IterableIterator<[string, Needs]> {
    return this.#agents.entries()
  }

  #forgetOldest(): void {
    for (const name of this.#agents.keys()) {
      this.#agents.delete(name)
      return
    }
  }
}
