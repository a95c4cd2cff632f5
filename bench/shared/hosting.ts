import type { Residency } from '../../src/options/residency.ts'
import { PAGING_OUT_MS } from '../../src/fleet/freezer.ts'
import { Residents } from '../../src/fleet/residents.ts'
import type { PlannedSession, Traffic } from './traffic.ts'
import type { SessionRef } from '../../src/store/store.ts'

/** The machine, in what a `claude` process was measured to need (private memory, some turns old). */
export interface Machine {
  memoryBytes: number
  /** Processes at once, whatever memory says. */
  workers?: number
  /** Where frozen processes are paged out to. Default: there is none. */
  swapBytes?: number
}

const MIB = 2 ** 20
const IDLE_BYTES = 140 * MIB
const RUNNING_BYTES = 175 * MIB
const HOST_BYTES = 200 * MIB
const START_MS = 400
/** What stays in memory of a frozen process, and how long it takes to go on (see docs/memory). */
const FROZEN_BYTES = 42 * MIB
const THAW_MS = 100
/** The pool freezes no more while less of the swap is free. */
const SWAP_KEPT = 0.25

/** How often the idle are looked at. The pool does so twice a second; here that would only take time. */
const TEND_MS = 30_000

export interface Figures {
  turns: number
  /** Refused: no room, and nobody who could make some. Lost. */
  shed: number
  /** Turns that found their session's process, live or frozen. */
  live: number
  /** Those of them that found it frozen. */
  thawed: number
  starts: number
  peakBytes: number
  meanBytes: number
}

type SimulatedState = 'idle' | 'frozen' | 'busy' | 'closed'

const BYTES: Record<SimulatedState, number> = {
  idle: IDLE_BYTES,
  frozen: FROZEN_BYTES,
  busy: RUNNING_BYTES,
  closed: 0,
}
const SWAPPED_BYTES = IDLE_BYTES - FROZEN_BYTES

class SimulatedWorker {
  state: SimulatedState = 'closed'
  readonly reserved = false
  readonly pin = undefined
  readonly agent: string
  readonly session: SessionRef
  readonly residency: Residency
  readonly startedAt: number
  readonly maxAgeMs: number
  lastUsedAt: number
  turns = 0
  readonly #hosting: Hosting

  constructor(session: SessionRef, residency: Residency, now: number, hosting: Hosting) {
    this.agent = session.agent
    this.session = session
    this.residency = residency
    this.startedAt = now
    this.lastUsedAt = now
    this.maxAgeMs = residency.maxAgeMs
    this.#hosting = hosting
  }

  get memoryBytes(): number {
    return BYTES[this.state]
  }

  get swappedBytes(): number | undefined {
    return this.state === 'frozen' ? SWAPPED_BYTES : undefined
  }

  get freezes(): boolean {
    return this.#hosting.hasSwap
  }

  freeze(): void {
    this.#hosting.change(this, 'frozen')
  }
}

interface Due {
  atMs: number
  run: () => void
}

/** A heap: the earliest first, and of those at the same time the one that was set first. */
class Agenda {
  readonly #heap: (Due & { order: number })[] = []
  #orders = 0

  set(atMs: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ atMs, run, order: (this.#orders += 1) })
    for (let at = heap.length - 1; at > 0;) {
      const above = (at - 1) >> 1
      if (!this.#first(at, above)) return
      this.#swap(at, above)
      at = above
    }
  }

  next(): Due | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    heap[0] = last
    for (let at = 0; ;) {
      let least = at
      for (const below of [2 * at + 1, 2 * at + 2]) if (below < heap.length && this.#first(below, least)) least = below
      if (least === at) return first
      this.#swap(at, least)
      at = least
    }
  }

  #first(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a], this.#heap[b]]
    if (x === undefined || y === undefined) return false
    return x.atMs === y.atMs ? x.order < y.order : x.atMs < y.atMs
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#heap[a], this.#heap[b]]
    if (x === undefined || y === undefined) return
    this.#heap[a] = y
    this.#heap[b] = x
  }
}

/** Runs the pool's own policy (`Residents`) over a traffic, without processes: days of it in a second. */
class Hosting {
  readonly #residency: Residency
  readonly #agenda = new Agenda()
  readonly #workers = new Map<string, SimulatedWorker>()
  readonly #residents: Residents<SimulatedWorker>
  readonly #budgetBytes: number
  readonly #maxWorkers: number
  readonly #swapBytes: number
  #swappedBytes = 0
  #freezing = false
  #now = 0
  #left: number
  #usedBytes = HOST_BYTES
  #countedUntil = 0
  readonly #figures: Figures = { turns: 0, shed: 0, live: 0, thawed: 0, starts: 0, peakBytes: 0, meanBytes: 0 }

  constructor(traffic: Traffic, residency: Residency, { memoryBytes, workers = Infinity, swapBytes = 0 }: Machine) {
    this.#residency = residency
    this.#budgetBytes = memoryBytes
    this.#swapBytes = swapBytes
    this.#maxWorkers = residency.pattern === 'single' ? 1 : workers
    this.#residents = new Residents(this.#present(), { now: () => this.#now })
    this.#left = traffic.sessions.reduce((sum, { turns }) => sum + turns.length, 0)
    for (const session of traffic.sessions) this.#agenda.set(session.startsAtMs, () => this.#arrive(session, 0))
    this.#agenda.set(0, () => this.#tend())
  }

  run(): Figures {
    for (let due = this.#agenda.next(); due !== undefined && this.#left > 0; due = this.#agenda.next()) {
      this.#now = due.atMs
      due.run()
    }
    return { ...this.#figures, meanBytes: this.#figures.meanBytes / this.#now }
  }

  /** Whoever is there when it is asked. */
  #present(): Iterable<SimulatedWorker> {
    const workers = this.#workers
    return { [Symbol.iterator]: () => workers.values() }
  }

  #arrive(plan: PlannedSession, number: number): void {
    const turn = plan.turns[number]
    if (turn === undefined) return
    const live = this.#workers.get(plan.key)
    const worker = live ?? this.#start(plan)
    const wasFrozen = live?.state === 'frozen'
    if (worker === undefined || !this.#begin(worker)) {
      this.#figures.shed += 1
      this.#over(plan, number)
      return
    }
    this.#figures.turns += 1
    if (live !== undefined) this.#figures.live += 1
    if (wasFrozen) this.#figures.thawed += 1
    const startMs = live === undefined ? START_MS : wasFrozen ? THAW_MS : 0
    this.#agenda.set(this.#now + startMs + turn.turnMs, () => {
      this.change(worker, 'idle')
      worker.turns += 1
      worker.lastUsedAt = this.#now
      this.#residents.turnEnded(worker.session)
      this.#letGo(worker)
      this.#over(plan, number)
    })
  }

  #over(plan: PlannedSession, number: number): void {
    this.#left -= 1
    const next = plan.turns[number + 1]
    if (next !== undefined) this.#agenda.set(this.#now + next.thinkMs, () => this.#arrive(plan, number + 1))
  }

  #start({ key, tenant, agent }: PlannedSession): SimulatedWorker | undefined {
    if (!this.#makeRoom(IDLE_BYTES, 1)) return undefined
    const session = { tenant, key, agent }
    const worker = new SimulatedWorker(session, this.#residency, this.#now, this)
    this.#workers.set(key, worker)
    this.change(worker, 'idle')
    this.#figures.starts += 1
    return worker
  }

  #begin(worker: SimulatedWorker): boolean {
    this.change(worker, 'busy')
    if (!this.#makeRoom(0, 0)) {
      this.change(worker, 'idle')
      return false
    }
    this.#residents.turnStarted(worker.session)
    return true
  }

  #makeRoom(bytes: number, workers: number): boolean {
    while (this.#usedBytes + bytes > this.#budgetBytes || this.#workers.size + workers > this.#maxWorkers) {
      const leaving = this.#residents.evictionCandidate()
      if (leaving === undefined) return false
      this.#leave(leaving)
    }
    return true
  }

  #tend(): void {
    for (const worker of this.#workers.values()) this.#letGo(worker)
    this.#freezeSoon()
    this.#agenda.set(this.#now + TEND_MS, () => this.#tend())
  }

  #letGo(worker: SimulatedWorker): void {
    if (this.#residents.retirementReason(worker, this.#isFull) !== undefined) this.#leave(worker)
  }

  get #isFull(): boolean {
    return this.#usedBytes + IDLE_BYTES > this.#budgetBytes || this.#workers.size >= this.#maxWorkers
  }

  #leave(worker: SimulatedWorker): void {
    this.change(worker, 'closed')
    this.#workers.delete(worker.session.key)
  }

  get hasSwap(): boolean {
    return this.#swappedBytes + SWAPPED_BYTES <= this.#swapBytes * (1 - SWAP_KEPT)
  }

  change(worker: SimulatedWorker, state: SimulatedState): void {
    this.#use(BYTES[state] - BYTES[worker.state])
    if (state === 'frozen') this.#swappedBytes += SWAPPED_BYTES
    if (worker.state === 'frozen') this.#swappedBytes -= SWAPPED_BYTES
    worker.state = state
    if (state === 'idle' || state === 'busy') this.#freezeSoon()
  }

  /** The pool looks twice a second; here it looks when something may be due. */
  #freezeSoon(): void {
    if (this.#freezing || this.#swapBytes === 0) return
    this.#freezing = true
    this.#agenda.set(this.#now + PAGING_OUT_MS, () => {
      this.#freezing = false
      if (this.#residents.freezeOne({ forRoom: this.#isFull })) this.#freezeSoon()
    })
  }

  #use(bytes: number): void {
    this.#figures.meanBytes += this.#usedBytes * (this.#now - this.#countedUntil)
    this.#countedUntil = this.#now
    this.#usedBytes += bytes
    if (this.#usedBytes <= this.#budgetBytes)
      this.#figures.peakBytes = Math.max(this.#figures.peakBytes, this.#usedBytes)
  }
}

/** What becomes of a traffic on a machine, with one residency. */
export const host = (traffic: Traffic, residency: Residency, machine: Machine): Figures =>
  new Hosting(traffic, residency, machine).run()
