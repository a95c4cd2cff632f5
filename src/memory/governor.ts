import type { LearnedNeeds } from './needs.ts'
import { Pressure } from './pressure.ts'
import type { PressureLevel } from './pressure.ts'
import { Readings } from './readings.ts'
import type { Occupant, ReadingsContext, Room } from './readings.ts'

/** A turn that was admitted, or asks to be: what it will need is charged from then on. */
export interface MemoryReservation {
  readonly agent: string
  /** The worker that it will run on, as soon as there is one. */
  worker(): Occupant | undefined
}

/** What `pool.stats().memory` shows. Bytes, unless it says otherwise. */
export interface MemoryStats {
  /** What bounds it: `machine`, a cgroup's directory, or `limits.memory`. */
  boundBy: string
  /** Infinity with `limits.memory: 'none'`. */
  limitBytes: number
  /** Memory in use there by all processes, without reclaimable caches. */
  usedBytes: number
  hostBytes: number
  /** Private memory of all workers with everything they started, as last measured. */
  workersBytes: number
  /** Kept back for the host and for surprises. */
  reservedBytes: number
  /** Charged for what is not there yet: workers that start or grow, turns that were admitted. */
  chargedBytes: number
  /** What idle workers would give back. */
  reclaimableBytes: number
  /** Left for more: limit − used − reserved − charged. Below 0 when the present needs more than there is. */
  headroomBytes: number
  pressure: PressureLevel
  /** Percent of the last 10 s in which a task waited for memory; undefined if the kernel does not report it. */
  stallPercent: number | undefined
  /** Turns that would fit at once, running ones included. */
  turnsThatFit: number
  /** What each agent's workers are taken to need, and of how many samples that was learned. */
  agents: Record<string, { runningBytes: number; idleBytes: number; runningSamples: number; idleSamples: number }>
}

export interface GovernorContext extends ReadingsContext {
  /** `limits.workers`. */
  maxWorkers: number
  /** True for an idle worker that could be hibernated. */
  mayLeave: (worker: Occupant) => boolean
}

/**
 * To say no, or how many fit, an older one will do: memory seldom comes back by itself within this, in milliseconds. A reading
 * may take several on a busy machine, and rejected callers retry often.
 */
const REFUSAL_READING_MS = 100

/** A worker that cannot be measured has by then taken what it needs, and what is in use has that in it. */
const GROWN_MS = 5_000

/** No process takes memory faster than this, or hardly one: bytes in a millisecond. So this often must be looked. */
const FASTEST_BYTES_PER_MS = (4 * 2 ** 30) / 1_000
const LOOK_MS = { least: 100, most: 500 } as const

/** Says what fits into memory: measured for running processes, learned for coming ones, and nothing counted twice. */
export class Governor {
  readonly #context: GovernorContext
  readonly #readings: Readings
  readonly #needs: LearnedNeeds
  readonly #pressure = new Pressure()
  readonly #claims = new Set<MemoryReservation>()

  constructor(context: GovernorContext) {
    this.#context = context
    this.#readings = new Readings(context)
    this.#needs = this.#readings.needs
  }

  get pressure(): PressureLevel {
    return this.#pressure.level
  }

  /** How short memory was at the latest look: what has helped already counts. */
  get shortage(): PressureLevel {
    return this.#pressure.latest
  }

  /** How long until the next look, in milliseconds: shorter where a tool could soon have taken all. */
  get sampleInMs(): number {
    const { limitBytes, usedBytes } = this.#readings.room()
    return Math.min(Math.max((limitBytes - usedBytes) / FASTEST_BYTES_PER_MS, LOOK_MS.least), LOOK_MS.most)
  }

  /** Measures everybody, and learns. True when the pressure has another level. */
  sample(): boolean {
    this.#readings.sample()
    const { limitBytes, usedBytes, reserveBytes } = this.#readings.room()
    if (limitBytes === Infinity) return false
    return this.#pressure.update(
      { limitBytes, freeBytes: limitBytes - usedBytes, reserveBytes, stall: this.#readings.stallPercent },
      this.#context.now(),
    )
  }

  /** A worker has come, gone, or changed its state. */
  changed(worker: Occupant, from?: Occupant['state']): void {
    this.#readings.changed(worker, from)
  }

  /** What keeps this turn from running even if idle workers made room for it: `limits.workers`, or memory. */
  obstacle(claim: MemoryReservation): 'turns' | 'memory' | undefined {
    const { maxWorkers, mayLeave } = this.#context
    const worker = claim.worker()
    let staying = 0
    for (const other of this.#context.occupants()) {
      if (other !== worker && other.state !== 'closing' && !mayLeave(other)) staying += 1
    }
    let unplaced = 0
    for (const other of this.#claims) if (other !== claim && other.worker() === undefined) unplaced += 1
    const others = staying + unplaced
    if (others + 1 > maxWorkers) return 'turns'
    // One at a time always may: a pool that takes no turn is of no use, and learns nothing.
    if (others === 0 && this.#pressure.level !== 'critical') return undefined
    const fits = (room: Room): boolean => this.#fits(claim, worker, room)
    if (this.#certainly(fits)) return undefined
    return fits(this.#readings.room(REFUSAL_READING_MS)) && fits(this.#readings.room()) ? undefined : 'memory'
  }

  /** True when this turn fits beside the others. */
  #fits(claim: MemoryReservation, worker: Occupant | undefined, room: Room): boolean {
    if (room.limitBytes === Infinity) return true
    if (this.#pressure.level === 'critical') return false
    if (this.#pressure.level === 'high' && worker === undefined) return false
    const left = this.#left(room) - this.#charge(this.#claims) + this.#reclaimable(worker)
    return left >= this.#chargeOf(claim, worker)
  }

  /** True without a new reading: whatever was taken since the latest, there is room enough. A turn on a large machine waits for none. */
  #certainly(enough: (room: Room) => boolean): boolean {
    const room = this.#readings.roomAtWorst(FASTEST_BYTES_PER_MS)
    return room !== undefined && enough(room)
  }

  /** Charges an admitted turn, until it is dropped. */
  hold(claim: MemoryReservation): void {
    this.#claims.add(claim)
  }

  drop(claim: MemoryReservation): void {
    this.#claims.delete(claim)
  }

  /** True when one more worker fits beside the others as they are, started for a turn or ahead of one. */
  fitsAnother(agent: string, purpose: 'turn' | 'ahead'): boolean {
    const others = [...this.#context.occupants()].length
    if (others + 1 > this.#context.maxWorkers) return false
    const room = this.#readings.room()
    if (room.limitBytes === Infinity || (others === 0 && purpose === 'turn')) return true
    return this.#left(room) >= this.#needToStart(agent, purpose)
  }

  /** True when one more worker fits that no turn needs: beside the admitted turns, and without pressure. */
  fitsSpare(agent: string): boolean {
    if (this.#pressure.level !== 'none' || !this.fitsAnother(agent, 'ahead')) return false
    const room = this.#readings.room()
    if (room.limitBytes === Infinity) return true
    return this.#left(room) - this.#charge(this.#claims) >= this.#needToStart(agent, 'ahead')
  }

  /** True when no worker fits unless another closes. */
  get full(): boolean {
    const room = this.#readings.room()
    if ([...this.#context.occupants()].length >= this.#context.maxWorkers) return true
    return room.limitBytes !== Infinity && this.#left(room) < this.#needs.largestTurn
  }

  /** True when the present workers fit, with what they have yet to grow by. */
  get fits(): boolean {
    const others = [...this.#context.occupants()].length
    if (others > this.#context.maxWorkers) return false
    if (others <= 1) return true
    const enough = (room: Room): boolean => room.limitBytes === Infinity || this.#left(room) >= 0
    return this.#certainly(enough) || enough(this.#readings.room())
  }

  /** The worker to end when nothing else helps: the one that is furthest above its agent's need, else the largest. */
  get outgrown(): Occupant | undefined {
    let worst: Occupant | undefined
    let most = -Infinity
    for (const worker of this.#context.occupants()) {
      if (worker.state !== 'busy' && worker.state !== 'starting') continue
      const excess = (worker.memoryBytes ?? 0) - this.#needs.of(worker.agent).running.bytes
      // Below its expected need no worker is at fault; then size alone decides.
      const rank = excess > 0 ? excess : (worker.memoryBytes ?? 0) - Number.MAX_SAFE_INTEGER
      if (rank <= most) continue
      worst = worker
      most = rank
    }
    return worst
  }

  /** Turns that fit at once, including running ones. At least one. */
  get turnsThatFit(): number {
    const room = this.#readings.room(REFUSAL_READING_MS)
    if (room.limitBytes === Infinity) return Infinity
    let busy = 0
    for (const { state } of this.#context.occupants()) if (state === 'busy') busy += 1
    const waiting = [...this.#claims].filter((claim) => claim.worker()?.state !== 'busy').length
    const running = busy + waiting
    const left = this.#left(room) - this.#charge(this.#claims) + this.#reclaimable(undefined)
    const more = this.#pressure.level === 'none' ? Math.max(0, Math.floor(left / this.#needs.largestTurn)) : 0
    return Math.max(1, running + Math.min(more, this.#context.maxWorkers - running))
  }

  stats(): MemoryStats {
    const room = this.#readings.room()
    const agents: MemoryStats['agents'] = {}
    for (const [name, { running, idle }] of this.#needs) {
      agents[name] = {
        runningBytes: running.bytes,
        idleBytes: idle.bytes,
        runningSamples: running.samples,
        idleSamples: idle.samples,
      }
    }
    const chargedBytes = this.#growth() + this.#charge(this.#claims)
    return {
      boundBy: room.boundBy,
      limitBytes: room.limitBytes,
      usedBytes: room.usedBytes,
      hostBytes: this.#readings.hostBytes,
      workersBytes: this.#readings.workersBytes,
      reservedBytes: room.reserveBytes,
      chargedBytes,
      reclaimableBytes: this.#reclaimable(undefined),
      headroomBytes: room.limitBytes - room.usedBytes - room.reserveBytes - chargedBytes,
      pressure: this.#pressure.level,
      stallPercent: this.#readings.stallPercent,
      turnsThatFit: this.turnsThatFit,
      agents,
    }
  }

  /** What is left when all that is there has grown to what it needs. */
  #left({ limitBytes, usedBytes, reserveBytes }: Room): number {
    return limitBytes - usedBytes - reserveBytes - this.#growth()
  }

  /** What the present workers have yet to grow by. */
  #growth(): number {
    let bytes = 0
    for (const worker of this.#context.occupants()) bytes += this.#growthOf(worker)
    return bytes
  }

  #growthOf(worker: Occupant): number {
    const need = this.#needOf(worker)
    if (worker.memoryBytes !== undefined) return Math.max(0, need - worker.memoryBytes)
    return this.#readings.sinceChange(worker) < GROWN_MS ? need : 0
  }

  /** What a worker will have at its peak, going by what it does. */
  #needOf({ agent, state, purpose, memoryBytes }: Occupant): number {
    const { running, idle } = this.#needs.of(agent)
    if (state === 'busy') return running.bytes
    if (state === 'starting') return this.#needToStart(agent, purpose === 'turn' ? 'turn' : 'ahead')
    // One that does nothing does not grow; nor does one that leaves.
    return state === 'idle' || state === 'frozen' ? (memoryBytes ?? idle.bytes) : 0
  }

  #needToStart(agent: string, purpose: 'turn' | 'ahead'): number {
    const { running, idle, starting } = this.#needs.of(agent)
    return Math.max(starting.bytes, purpose === 'turn' ? running.bytes : idle.bytes)
  }

  #charge(claims: Iterable<MemoryReservation>): number {
    let bytes = 0
    for (const claim of claims) bytes += this.#chargeOf(claim, claim.worker())
    return bytes
  }

  /** What a turn adds to what is charged for its worker already. */
  #chargeOf({ agent }: MemoryReservation, worker: Occupant | undefined): number {
    const need = this.#needs.of(agent).running.bytes
    if (worker === undefined || worker.state === 'closing') return Math.max(need, this.#needToStart(agent, 'turn'))
    return Math.max(0, need - Math.max(worker.memoryBytes ?? 0, this.#needOf(worker)))
  }

  /** What leaving workers give back, and what idle ones would. */
  #reclaimable(except: Occupant | undefined): number {
    const kept = new Set([...this.#claims].map((claim) => claim.worker()))
    let bytes = 0
    for (const worker of this.#context.occupants()) {
      const leaves = worker.state === 'closing'
      if (!leaves && (worker === except || kept.has(worker) || !this.#context.mayLeave(worker))) continue
      bytes += worker.memoryBytes ?? this.#needs.of(worker.agent).idle.bytes
    }
    return bytes
  }
}
