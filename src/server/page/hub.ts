import { repeatedly } from '../../clock.ts'
import type { CancelTimer, Clock } from '../../clock.ts'
import type { Pool, TurnInfo, WorkerDetails } from '../../index.ts'
import { packageVersion } from '../../package-version.ts'
import type { ServerSettings } from '../context.ts'
import type { RecentlyShed } from '../operations.ts'
import { obstacleOf } from '../operations.ts'
import { PoolListeners } from '../pool-listeners.ts'
import type { Questions } from '../questions.ts'
import { encode, NOTHING } from './delta.ts'
import type { Encoded, SectionName } from './delta.ts'
import type { Recent } from './recent.ts'
import { agentRows, hostRows, overviewOf, workerRows } from './sections.ts'
import { SessionIndex } from './session-index.ts'
import type { Sample } from './wire.ts'

/** How soon a change is shown. */
const FLUSH_MS = 250

/** How often figures are read, of which some cost a look at the system. */
const FIGURES_MS = 1_000

/** How often the process table is read: at most a hundredth of a core goes into it. */
const WORKERS_MS = 5_000
const WORKERS_SHARE = 100

/** For the charts: ten minutes. */
const SAMPLE_MS = 2_000
const MAX_SAMPLES = 300

/** A page that is loaded again finds the list as it was. */
const LINGER_MS = 60_000

export interface HubContext {
  pool: Pool
  clock: Clock
  settings: ServerSettings
  shed: RecentlyShed
  recent: Recent
  questions: Questions
}

/** A stream that is told when there may be something to send. */
export interface Subscriber {
  /** Whether it shows workers. */
  readonly showsWorkers: boolean
  /** `sortsAnew`: its list may be sorted as it is now. That is at most twice a second. */
  wake(sortsAnew: boolean): void
  end(): void
}

/** What all open pages show, read once for all of them. Costs nothing while none is open. */
export class Hub {
  readonly #context: HubContext
  readonly version: string = packageVersion()
  readonly #subscribers = new Set<Subscriber>()
  readonly #samples = new Map<number, Sample>()
  readonly #shared = new Map<SectionName, Encoded>()
  #listeners: PoolListeners | undefined
  #index: SessionIndex | undefined
  #turns: readonly TurnInfo[] = []
  #workers: readonly WorkerDetails[] = []
  #cancels: CancelTimer[] = []
  #workersDue = -Infinity
  #sampleNumber = 0
  #closed = false

  constructor(context: HubContext) {
    this.#context = context
  }

  get size(): number {
    return this.#subscribers.size
  }

  /** All sessions; undefined while no page is open. */
  get index(): SessionIndex | undefined {
    return this.#index
  }

  get turns(): readonly TurnInfo[] {
    return this.#turns
  }

  get workers(): readonly WorkerDetails[] {
    return this.#workers
  }

  shared(name: SectionName): Encoded {
    return this.#shared.get(name) ?? NOTHING
  }

  subscribe(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber)
    if (this.#subscribers.size > 1) return
    for (const cancel of this.#cancels.splice(0)) cancel()
    this.#begin()
  }

  unsubscribe(subscriber: Subscriber): void {
    if (!this.#subscribers.delete(subscriber) || this.#subscribers.size > 0) return
    for (const cancel of this.#cancels.splice(0)) cancel()
    this.#cancels = [this.#context.clock.after(LINGER_MS, () => this.#rest())]
  }

  /** A page shows workers now: they are not to be those of before. */
  wantWorkers(): void {
    this.#workersDue = -Infinity
    this.#readFigures()
  }

  close(): void {
    this.#closed = true
    for (const cancel of this.#cancels.splice(0)) cancel()
    for (const subscriber of this.#subscribers) subscriber.end()
    this.#subscribers.clear()
    this.#rest()
  }

  #begin(): void {
    const { clock, pool } = this.#context
    if (this.#index === undefined) {
      this.#listeners = new PoolListeners(pool)
      const index = new SessionIndex(pool, this.#listeners)
      this.#index = index
      // A store that fails has told its own warning, and the page says that the list is not whole.
      index.load(() => this.#readFigures()).catch(() => undefined)
    }
    this.#cancels = [
      repeatedly(
        clock,
        () => FLUSH_MS,
        () => this.#flush(),
      ),
      repeatedly(
        clock,
        () => FIGURES_MS,
        () => this.#readFigures(),
      ),
      repeatedly(
        clock,
        () => SAMPLE_MS,
        () => this.#sample(),
      ),
    ]
    this.#readFigures()
    this.#sample()
  }

  /** No page has been open for a while: nothing is kept, or listened to. */
  #rest(): void {
    this.#listeners?.close()
    this.#index?.close()
    this.#listeners = undefined
    this.#index = undefined
    this.#samples.clear()
    this.#shared.clear()
  }

  #flush(): void {
    this.#turns = this.#context.pool.turns()
    this.#index?.setTurns(this.#turns)
    this.#wakeAll(false)
  }

  #readFigures(): void {
    const { pool, clock, settings, shed, recent } = this.#context
    if (this.#closed) return
    this.#turns = pool.turns()
    this.#index?.setTurns(this.#turns)
    void this.#index?.refresh().then((changed) => changed && this.#wakeAll(true))
    this.#readWorkers()
    const stats = pool.stats()
    const sessions = {
      listed: this.#index?.size ?? 0,
      active: stats.activeSessions,
      complete: this.#index?.complete ?? false,
    }
    const obstacle = obstacleOf(pool, settings.state)
    const overview = overviewOf(stats, this.#turns, {
      obstacle,
      recentlyShed: shed.count,
      now: clock.wall(),
      sessions,
    })
    this.#shared.set('overview', encode(overview))
    const host = { state: settings.state, version: this.version, startedAt: recent.startedAt }
    this.#shared.set('hosts', encode(hostRows(pool.hosts(), stats, host)))
    this.#shared.set('agents', encode(agentRows(pool, stats, this.#workers, this.#turns)))
    this.#shared.set('workers', encode(workerRows(this.#workers, this.#turns)))
    this.#shared.set('notices', encode(Object.fromEntries(recent.notices)))
    this.#wakeAll(true)
  }

  #readWorkers(): void {
    const { pool, clock } = this.#context
    const now = clock.now()
    if (now < this.#workersDue) return
    if (![...this.#subscribers].some(({ showsWorkers }) => showsWorkers)) return
    this.#workers = pool.workers()
    this.#workersDue = now + Math.max(WORKERS_MS, (clock.now() - now) * WORKERS_SHARE)
  }

  #sample(): void {
    const { pool, clock, shed } = this.#context
    const { turns, memory } = pool.stats()
    const { running, waiting } = turns
    this.#sampleNumber += 1
    this.#samples.set(this.#sampleNumber, {
      at: clock.wall(),
      running,
      waiting,
      usedBytes: memory.usedBytes,
      refused: shed.count,
    })
    this.#samples.delete(this.#sampleNumber - MAX_SAMPLES)
    this.#shared.set('samples', encode(Object.fromEntries(this.#samples)))
  }

  #wakeAll(sortsAnew: boolean): void {
    for (const subscriber of this.#subscribers) subscriber.wake(sortsAnew)
  }
}
