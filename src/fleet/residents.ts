import type { Clock } from '../clock.ts'
import type { CloseReason } from '../worker/worker.ts'
import { Habits, unlearned } from './habits.ts'
import type { Forecast } from './habits.ts'
import { retirementReason, evictionCandidate } from './residency.ts'
import type { SessionRef } from '../store/store.ts'
import { PAGING_OUT_MS, freezeCandidate, isDueToFreeze } from './freezer.ts'
import type { Freezable } from './freezer.ts'

const idOf = ({ tenant, key }: SessionRef): string => `${tenant}\0${key}`

interface SessionResident extends Freezable {
  readonly agent: string
  readonly session: SessionRef | undefined
}

/** The resident workers and the expected behaviour of their sessions: chooses the workers to freeze and to close. */
export class Residents<W extends SessionResident> {
  readonly #clock: Pick<Clock, 'now'>
  readonly #workers: Iterable<W>
  readonly #habits = new Habits()
  readonly #forecast = (worker: W): Forecast => this.#forecastOf(worker, Infinity)
  readonly #soon = (worker: W): Forecast => this.#forecastOf(worker, worker.residency.freezeAfterMs)
  #frozenAt = -Infinity

  constructor(workers: Iterable<W>, clock: Pick<Clock, 'now'>) {
    this.#workers = workers
    this.#clock = clock
  }

  turnStarted(session: SessionRef): void {
    this.#habits.speaks(idOf(session), this.#clock.now())
  }

  turnEnded(session: SessionRef): void {
    this.#habits.fallsSilent(idOf(session), session.agent, this.#clock.now())
  }

  sessionDeleted(session: SessionRef): void {
    this.#habits.forget(idOf(session))
  }

  workerReady(agent: string, startMs: number): void {
    this.#habits.recordStart(agent, startMs)
  }

  /** The worker to evict when others need the room; undefined if there is none. */
  evictionCandidate(): W | undefined {
    return evictionCandidate(this.#workers, this.#clock.now(), this.#forecast)
  }

  /** Why this worker should leave now, if it should. `full`: there is no room for one more. */
  retirementReason(worker: W, full: boolean): CloseReason | undefined {
    return retirementReason(worker, this.#clock.now(), { forecast: this.#forecast, full })
  }

  /** A frozen worker of this agent has taken this long to go on, in milliseconds. */
  workerThawed(agent: string, thawMs: number): void {
    this.#habits.recordThaw(agent, thawMs)
  }

  /**
   * Freezes an idle worker that is due or, if there has to be more room, the one that costs least. One at a time: paging out takes the
   * kernel up to seconds. True until what it had shows as free.
   */
  freezeOne({ forRoom }: { forRoom: boolean }): boolean {
    const now = this.#clock.now()
    if (now - this.#frozenAt < PAGING_OUT_MS) return true
    const due = [...this.#workers].find((worker) => isDueToFreeze(worker, now, this.#soon))
    const next = due ?? (forRoom ? freezeCandidate(this.#workers, now, this.#forecast) : undefined)
    if (next === undefined) return false
    this.#frozenAt = now
    next.freeze()
    return true
  }

  #forecastOf({ residency, session, agent, turns, lastUsedAt, startedAt, maxAgeMs }: W, withinMs: number): Forecast {
    const now = this.#clock.now()
    const silentMs = now - lastUsedAt
    // One that was started ahead of a turn waits for that turn, whatever its session did before.
    if (!residency.learns || session === undefined || turns === 0) return unlearned(silentMs)
    // A session that comes back later than its process can stay does not find it.
    return this.#habits.forecast(idOf(session), agent, silentMs, Math.min(withinMs, startedAt + maxAgeMs - now))
  }
}
