import type { Clock } from '../clock.ts'
import type { CloseReason } from '../worker/worker.ts'
import { Habits, unlearned } from './habits.ts'
import type { Forecast } from './habits.ts'
import { retirementReason, evictionCandidate } from './residency.ts'
import type { SessionRef } from '../store/store.ts'
import type { Resident } from './resident.ts'

const idOf = ({ tenant, key }: SessionRef): string => `${tenant}\0${key}`

interface SessionResident extends Resident {
  readonly agent: string
  readonly session: SessionRef | undefined
}

/** The resident workers and the expected behaviour of their sessions: chooses the worker to close. */
export class Residents<W extends SessionResident> {
  readonly #clock: Pick<Clock, 'now'>
  readonly #workers: Iterable<W>
  readonly #habits = new Habits()
  readonly #forecast = (worker: W): Forecast => this.#forecastOf(worker)

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

  #forecastOf({ residency, session, agent, turns, lastUsedAt, startedAt, maxAgeMs }: W): Forecast {
    const now = this.#clock.now()
    const silentMs = now - lastUsedAt
    // One that was started ahead of a turn waits for that turn, whatever its session did before.
    if (!residency.learns || session === undefined || turns === 0) return unlearned(silentMs)
    // A session that comes back later than its process can stay does not find it.
    return this.#habits.forecast(idOf(session), agent, silentMs, startedAt + maxAgeMs - now)
  }
}
