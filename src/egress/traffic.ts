import type { Clock } from '../clock.ts'
import { textOf } from './rules.ts'
import type { Place } from './rules.ts'

/** What a worker has sent to one place, and received from there, since it was told last. */
export interface Traffic {
  /** `host:port`, or `(others)` for what is beyond {@link MOST_PLACES}. */
  place: string
  connections: number
  /** Of these, how many were not allowed, or led to a private address. */
  refused: number
  /** Of these, how many could not be made. */
  failed: number
  sentBytes: number
  receivedBytes: number
  /** Why the last one was refused or failed. */
  problem?: string
}

/** How often what has happened is told, in milliseconds. */
const TOLD_EVERY_MS = 5_000

/** Places that are told one by one: an agent can ask for as many as it likes. */
const MOST_PLACES = 20

/** One connection that is over. */
export interface Connection {
  sentBytes: number
  receivedBytes: number
  outcome: 'passed' | 'refused' | 'failed'
  problem?: string
}

/** Adds up the connections of one worker, so that it cannot flood a log. */
export class TrafficReport {
  readonly #clock: Clock
  readonly #tell: (traffic: Traffic[]) => void
  #sums = new Map<string, Traffic>()
  #cancel: (() => void) | undefined

  constructor(clock: Clock, tell: (traffic: Traffic[]) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** `place`: undefined for what names none. */
  add(place: Place | undefined, { sentBytes, receivedBytes, outcome, problem }: Connection): void {
    const name = place === undefined ? '(none)' : textOf(place)
    const key = this.#sums.has(name) || this.#sums.size < MOST_PLACES ? name : '(others)'
    const sum = this.#sums.get(key) ?? emptyOf(key)
    sum.connections += 1
    if (outcome !== 'passed') sum[outcome] += 1
    if (problem !== undefined) sum.problem = problem
    sum.sentBytes += sentBytes
    sum.receivedBytes += receivedBytes
    this.#sums.set(key, sum)
    this.#cancel ??= this.#clock.after(TOLD_EVERY_MS, () => this.flush())
  }

  /** Tells what is not told yet. */
  flush(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#sums.size === 0) return
    const sums = [...this.#sums.values()]
    this.#sums = new Map()
    this.#tell(sums)
  }
}

const emptyOf = (place: string): Traffic => ({
  place,
  connections: 0,
  refused: 0,
  failed: 0,
  sentBytes: 0,
  receivedBytes: 0,
})
