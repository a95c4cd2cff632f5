import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { SpareBounds } from '../options/spares.ts'
import type { Worker } from '../worker/worker.ts'
import type { Agent } from '../agents/agent.ts'
import { Demand } from './demand.ts'
import type { Gate } from '../admission/gate.ts'
import type { PoolEmitter } from '../events.ts'
import type { Places } from '../store/store.ts'
import type { Placement } from './placement.ts'
import type { StartQueue } from './start-queue.ts'
import type { Registry } from './registry.ts'
import type { Starter } from './starter.ts'

/** `spare`: holds a conversation's id and cwd already. `unbound`: parked, and bound to a caller's cwd when it is needed. */
export type SpareKind = 'spare' | 'unbound'

/** A kind of new conversation: what may share spares. */
export interface SpareGroup {
  agent: Agent
  tenant: string
  fingerprint: string
  kind: SpareKind
}

/** What a process takes to start until one was seen: the cold start measured here. */
const FIRST_START_MS = 400

/** After an arrival no spare starts for this long: it would compete for the cores with the first turn of the new conversation. */
const FIRST_TURN_MS = 300

/** An arrival this soon after another begins a burst, in which no start is put off. Longer than a round of housekeeping. */
const BURST_MS = 1_000

/** A kind without an arrival in this time is forgotten. */
const FORGET_AFTER_MS = 10 * 60_000

interface Keeping extends SpareGroup {
  bounds: SpareBounds
  demand: Demand
  /** Kept without demand: the default tenant's minimum. */
  permanent: boolean
  /** Clock reading before which none is started. */
  startFrom: number
  /** Its agent has another definition by now. */
  dropped: boolean
}

export interface SpareContext {
  clock: Clock
  registry: Registry
  gate: Gate
  launcher: StartQueue
  starter: Starter
  placement: Placement
  places: Places
  emitter: PoolEmitter
  /** False while the other hosts may hold this one for gone. */
  mayStart: () => boolean
}

const idOf = ({ fingerprint, kind }: SpareGroup): string => `${kind}:${fingerprint}`

/** Keeps started processes ahead of new conversations: as many as demand asks for, within the agent's bounds. */
export class Spares {
  readonly #context: SpareContext
  readonly #kinds = new Map<string, Keeping>()
  /** Starts that are under way or queued, by kind. */
  readonly #coming = new Map<string, Set<Promise<void>>>()
  #stopped = false

  constructor(context: SpareContext) {
    this.#context = context
  }

  /** Keeps the minimum of a kind from now on, asked for or not. */
  keep(group: SpareGroup): void {
    this.#keeping(group, true)
  }

  /** Notes that a new conversation of this kind has come. */
  recordArrival(group: SpareGroup): void {
    const now = this.#context.clock.now()
    const keeping = this.#keeping(group, false)
    const alone = now - keeping.demand.lastArrivalAt >= BURST_MS
    keeping.startFrom = alone ? now + FIRST_TURN_MS : now
    keeping.demand.recordArrival(now)
  }

  #boundsOf(agent: Agent, kind: SpareKind): SpareBounds {
    return kind === 'unbound' && !this.#context.starter.startsUnbound(agent) ? NONE : boundsOf(agent, kind)
  }

  /** The spare that has waited longest. It is reserved: the caller gives that back. */
  take(group: SpareGroup): Worker | undefined {
    const [worker] = this.#waiting(group).toSorted((a, b) => a.startedAt - b.startedAt)
    worker?.reserve()
    return worker
  }

  /** Starts what is missing and lets go of what is too many. Called on every change, and now and then. */
  tend(): void {
    if (this.#stopped || this.#context.gate.suspended) return
    const now = this.#context.clock.now()
    for (const [id, keeping] of this.#kinds) {
      const target = this.#target(keeping, now)
      this.#fill(keeping, target)
      this.#trim(keeping, target)
      const idle = now - keeping.demand.lastArrivalAt
      if (!keeping.permanent && idle > FORGET_AFTER_MS && this.#present(keeping) === 0) this.#kinds.delete(id)
    }
  }

  /** True when a replacement is there, so that this spare may retire; an unneeded spare always may. */
  replaceable(worker: Worker): boolean {
    const keeping = this.#kinds.get(`${worker.purpose}:${worker.fingerprint}`)
    if (keeping === undefined) return true
    const now = this.#context.clock.now()
    const target = this.#target(keeping, now)
    if (target === 0 || this.#waiting(keeping).some((other) => other !== worker && !isOverdue(other, now))) return true
    this.#fill(keeping, target)
    return false
  }

  /** An agent has another definition: spares of its fingerprint of now are kept as it says, no others are. */
  follow(name: string, agent: Agent | undefined, fingerprintOf: (tenant: string) => string | undefined): void {
    for (const [id, keeping] of this.#kinds) {
      if (keeping.agent.name !== name) continue
      if (agent !== undefined && keeping.fingerprint === fingerprintOf(keeping.tenant)) {
        Object.assign(keeping, { agent, bounds: this.#boundsOf(agent, keeping.kind), permanent: false })
        continue
      }
      keeping.dropped = true
      this.#kinds.delete(id)
    }
  }

  /** Resolves when each spare that is being started now can be used, or has failed to start. */
  async settled(): Promise<void> {
    await Promise.all([...this.#coming.values()].flatMap((starts) => [...starts]))
  }

  /** Starts no more. */
  stop(): void {
    this.#stopped = true
  }

  /** How many of this kind there should be. */
  #target({ demand, bounds }: Keeping, now: number): number {
    return this.#context.placement.underPressure ? 0 : demand.target(bounds, now)
  }

  #keeping(group: SpareGroup, permanent: boolean): Keeping {
    const id = idOf(group)
    let keeping = this.#kinds.get(id)
    if (keeping === undefined) {
      const bounds = this.#boundsOf(group.agent, group.kind)
      const now = this.#context.clock.now()
      keeping = { ...group, bounds, demand: new Demand(now, FIRST_START_MS), permanent, startFrom: now, dropped: false }
      this.#kinds.set(id, keeping)
    }
    keeping.permanent ||= permanent
    return keeping
  }

  #waiting(group: SpareGroup): Worker[] {
    const found: Worker[] = []
    for (const worker of this.#context.registry) {
      if (worker.fingerprint !== group.fingerprint || worker.purpose !== group.kind) continue
      if (worker.state === 'idle' && worker.session === undefined && !worker.reserved && worker.process.alive)
        found.push(worker)
    }
    return found
  }

  /** Waiting spares that are not overdue, and those being started. */
  #present(keeping: Keeping): number {
    const now = this.#context.clock.now()
    const waiting = this.#waiting(keeping).filter((worker) => !isOverdue(worker, now)).length
    return waiting + (this.#coming.get(idOf(keeping))?.size ?? 0)
  }

  #fill(keeping: Keeping, target: number): void {
    const { clock, gate, starter, placement, mayStart } = this.#context
    const now = clock.now()
    if (
      now < keeping.startFrom ||
      gate.suspended ||
      !mayStart() ||
      !placement.fitsSpare(keeping.agent.name) ||
      starter.heldBack(keeping.fingerprint, now)
    )
      return
    if (starter.failing(keeping.fingerprint) && this.#coming.has(idOf(keeping))) return
    const missing = target - this.#present(keeping)
    // After a failure one start finds out for all.
    const starts = starter.failing(keeping.fingerprint) ? Math.min(missing, 1) : missing
    for (let number = 0; number < starts; number += 1) void this.#startOne(keeping)
  }

  #trim(keeping: Keeping, target: number): void {
    const now = this.#context.clock.now()
    const waiting = this.#waiting(keeping).toSorted((a, b) => a.startedAt - b.startedAt)
    for (const worker of waiting.slice(0, Math.max(0, waiting.length - target)))
      worker.retire(isOverdue(worker, now) ? 'age' : 'surplus')
  }

  async #startOne(keeping: Keeping): Promise<void> {
    const permit = this.#context.gate.permitStart(keeping.tenant)
    const settle = this.#recordComing(idOf(keeping))
    try {
      await this.#context.launcher.launch(permit, 'spare', async () => {
        const worker = await this.#open(keeping)
        settle()
        // It may be taken already. The next start waits: both would need the cores.
        await worker?.process.prepare()
      })
    } catch (error) {
      if (!this.#stopped)
        this.#context.emitter.tell('warning', {
          message: `a spare of agent "${keeping.agent.name}" did not start`,
          error,
        })
    } finally {
      permit.release()
      settle()
    }
  }

  /** Counts a start until the returned function is called. */
  #recordComing(id: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    const starts = this.#coming.get(id) ?? new Set()
    this.#coming.set(id, starts.add(promise))
    return () => {
      starts.delete(promise)
      if (starts.size === 0 && this.#coming.get(id) === starts) this.#coming.delete(id)
      resolve()
    }
  }

  async #open(keeping: Keeping): Promise<Worker | undefined> {
    const { clock, starter } = this.#context
    const { agent, tenant, fingerprint, kind } = keeping
    if (this.#stopped || keeping.dropped || this.#context.gate.suspended) return undefined
    starter.checkBackoff(agent, fingerprint)
    const places = await this.#context.places.makePlaces(tenant)
    const sessionId = randomUUID()
    const ownsCwd = kind === 'spare' && agent.options.cwd === undefined
    const cwd =
      kind === 'unbound' ? places.home : (agent.options.cwd ?? (await starter.makeWorkspace(places, sessionId)))
    // The wait for the directory may have been long enough for the pool to begin its end.
    const worker =
      this.#stopped || keeping.dropped || this.#context.gate.suspended
        ? undefined
        : this.#context.placement.registerIfFree(agent.name, () =>
            starter.start({
              agent,
              tenant,
              fingerprint,
              purpose: kind,
              owner: undefined,
              cwd,
              ownsCwd,
              conversation: kind === 'unbound' ? { kind: 'unbound' } : { kind: 'new', sessionId },
              places,
            }),
          )
    if (worker === undefined) {
      if (ownsCwd) await starter.removeWorkspace(cwd)
      return undefined
    }
    const startedAt = clock.now()
    await starter.open(worker)
    keeping.demand.recordStart(clock.now() - startedAt)
    return worker
  }
}

const NONE: SpareBounds = { min: 0, max: 0 }

/** How many spares of this kind the agent wants. */
export const boundsOf = ({ spares, unboundSpares }: Agent, kind: SpareKind): SpareBounds =>
  kind === 'spare' ? spares : unboundSpares

const isOverdue = (worker: Worker, now: number): boolean => now - worker.startedAt >= worker.maxAgeMs
