import { LearnedNeeds } from './needs.ts'
import { Pressure } from './pressure.ts'
import type { PressureLevel } from './pressure.ts'
import { Reserve } from './reserve.ts'
import type { MemorySource } from './source.ts'

/** A worker, as the governor sees it. */
export interface Occupant {
  readonly id: string
  readonly agent: string
  readonly state: 'starting' | 'idle' | 'busy' | 'closing' | 'closed'
  /** `turn`: it was started for one that waits. */
  readonly purpose: string
  readonly process: { readonly pid: number | undefined }
  /** Private memory of its tree in bytes, as last measured. */
  memoryBytes: number | undefined
}

/** A turn that was admitted, or asks to be: what it will need is charged from then on. */
export interface Claim {
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
  /** In use there by everybody, without what is only cached. */
  usedBytes: number
  hostBytes: number
  /** Private memory of all workers with what they started, as last measured. */
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
  /** Percent of the last 10 s in which somebody waited for memory; undefined where the kernel does not say. */
  stallPercent: number | undefined
  /** Turns that would fit at once, those that run included. */
  turnsThatFit: number
  /** What each agent's workers are taken to need, and of how many samples that was learned. */
  agents: Record<string, { runningBytes: number; idleBytes: number; runningSamples: number; idleSamples: number }>
}

export interface GovernorContext {
  now: () => number
  source: MemorySource
  /** `limits.memory`. Infinity: memory bounds nothing. */
  limitBytes: number | 'auto'
  /** `limits.workers`. */
  maxWorkers: number
  occupants: () => Iterable<Occupant>
  /** True for an idle worker that could be hibernated. */
  mayLeave: (worker: Occupant) => boolean
}

interface Track {
  measuredAt: number
  /** The most it had since it was last noted, or since it began to do what it does. */
  peak: number
  since: number
  notedAt: number
  /** A turn is over, and what it needed is still to be noted. */
  owed: boolean
}

interface Room {
  boundBy: string
  limitBytes: number
  usedBytes: number
  reserveBytes: number
}

/** A reading is used for this long unless something has changed, in milliseconds. */
const READING_MS = 20

/**
 * To say no, or how many fit, an older one will do: memory seldom comes back by itself within this, in milliseconds. A reading
 * may take several on a busy machine, and those who are refused come often.
 */
const REFUSAL_READING_MS = 100

/** Workers that grow are measured again for a decision when their figures are older than this. */
const STALE_MS = 100

/** All are, when the last look at all is older than this. */
const STALE_ALL_MS = 3_000

/** A worker that cannot be measured has by then taken what it needs, and what is in use has that in it. */
const GROWN_MS = 5_000

/** When so much more is in use than is known of, somebody has come who should be known. */
const STRANGER_BYTES = 32 * 2 ** 20

/** A turn that is long is learned from before its end, this often. */
const NOTE_RUNNING_MS = 5_000

/** A worker that has just become idle still holds what its turn needed. */
const SETTLED_MS = 2_000
const NOTE_IDLE_MS = 30_000

/** No process takes memory faster than this, or hardly one: bytes in a millisecond. So this often must be looked. */
const FASTEST_BYTES_PER_MS = (4 * 2 ** 30) / 1_000
const LOOK_MS = { least: 100, most: 500 } as const

/** Says what memory bears: measured for what is there, learned for what is to come, and nothing twice. */
export class Governor {
  readonly #context: GovernorContext
  readonly #needs = new LearnedNeeds()
  readonly #pressure = new Pressure()
  readonly #reserve = new Reserve()
  readonly #claims = new Set<Claim>()
  readonly #tracks = new WeakMap<Occupant, Track>()
  #room: Room | undefined
  #readAt = -Infinity
  #sampledAt = -Infinity
  #stall: number | undefined
  /** In use by nobody that was seen, in bytes: cached programs, the kernel, others. */
  #unexplained = Infinity

  constructor(context: GovernorContext) {
    this.#context = context
  }

  get pressure(): PressureLevel {
    return this.#pressure.level
  }

  /** How short memory was at the latest look: what has helped already counts. */
  get shortage(): PressureLevel {
    return this.#pressure.latest
  }

  /** How long until the next look, in milliseconds: shorter where a tool could soon have taken all. */
  get lookInMs(): number {
    const { limitBytes, usedBytes } = this.#now()
    return Math.min(Math.max((limitBytes - usedBytes) / FASTEST_BYTES_PER_MS, LOOK_MS.least), LOOK_MS.most)
  }

  /** Measures everybody, and learns. True when the pressure has another level. */
  look(): boolean {
    const { now: clock, source } = this.#context
    const now = clock()
    this.#sample(now, false)
    this.#room = undefined
    this.#now()
    if (this.#unexplainedBytes() - this.#unexplained > STRANGER_BYTES) this.#sample(now, true)
    // A rise that nobody could be found for yet is looked into again, and only slowly taken for a stranger's.
    const unexplained = this.#unexplainedBytes()
    const rise = unexplained - this.#unexplained
    this.#unexplained = rise > 0 && Number.isFinite(rise) ? this.#unexplained + rise / 4 : unexplained
    this.#stall = source.stall()
    const { limitBytes, usedBytes, reserveBytes } = this.#now()
    if (limitBytes === Infinity) return false
    return this.#pressure.update(
      { limitBytes, freeBytes: limitBytes - usedBytes, reserveBytes, stall: this.#stall },
      now,
    )
  }

  /** A worker has come, gone, or changed its state. */
  changed(worker: Occupant, from?: Occupant['state']): void {
    const now = this.#context.now()
    const track = this.#track(worker)
    // To take up a turn, or to have ended it, changes nothing of what is in use.
    if (from !== 'idle' && from !== 'busy') this.#room = undefined
    if (from === undefined) return
    const { starting, running } = this.#needs.of(worker.agent)
    if (from === 'starting' && worker.state === 'idle') this.#end(worker, track, now, starting)
    // The answer that has just come does not wait for a reading: the next look takes it.
    if (from === 'busy' && worker.state === 'idle') track.owed = true
    else if ((track.owed && worker.state === 'closing') || from === 'busy') this.#end(worker, track, now, running)
    if (!track.owed) track.peak = 0
    Object.assign(track, { since: now, notedAt: now })
  }

  /** What keeps this turn from running even if idle workers made room for it: `limits.workers`, or memory. */
  obstacle(claim: Claim): 'turns' | 'memory' | undefined {
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
    const short = (room: Room): boolean => this.#isShort(claim, worker, room)
    return short(this.#now(REFUSAL_READING_MS)) || short(this.#now()) ? 'memory' : undefined
  }

  /** True when this turn does not fit beside the others. */
  #isShort(claim: Claim, worker: Occupant | undefined, room: Room): boolean {
    if (room.limitBytes === Infinity) return false
    if (this.#pressure.level === 'critical') return true
    if (this.#pressure.level === 'high' && worker === undefined) return true
    const left = this.#left(room) - this.#charge(this.#claims) + this.#reclaimable(worker)
    return left < this.#chargeOf(claim, worker)
  }

  /** Charges an admitted turn, until it is dropped. */
  hold(claim: Claim): void {
    this.#claims.add(claim)
  }

  drop(claim: Claim): void {
    this.#claims.delete(claim)
  }

  /** True when one more worker fits beside the others as they are, started for a turn or ahead of one. */
  fitsAnother(agent: string, purpose: 'turn' | 'ahead'): boolean {
    const others = [...this.#context.occupants()].length
    if (others + 1 > this.#context.maxWorkers) return false
    const room = this.#now()
    if (room.limitBytes === Infinity || (others === 0 && purpose === 'turn')) return true
    return this.#left(room) >= this.#needToStart(agent, purpose)
  }

  /** True when one more fits that nobody has asked for: beside the turns that were admitted, and without pressure. */
  fitsSpare(agent: string): boolean {
    if (this.#pressure.level !== 'none' || !this.fitsAnother(agent, 'ahead')) return false
    const room = this.#now()
    if (room.limitBytes === Infinity) return true
    return this.#left(room) - this.#charge(this.#claims) >= this.#needToStart(agent, 'ahead')
  }

  /** True when not one more fits, unless somebody leaves. */
  get full(): boolean {
    const room = this.#now()
    if ([...this.#context.occupants()].length >= this.#context.maxWorkers) return true
    return room.limitBytes !== Infinity && this.#left(room) < this.#needs.largestTurn
  }

  /** True when the present workers fit, with what they have yet to grow by. */
  get fits(): boolean {
    const others = [...this.#context.occupants()].length
    if (others > this.#context.maxWorkers) return false
    if (others <= 1) return true
    const room = this.#now()
    return room.limitBytes === Infinity || this.#left(room) >= 0
  }

  /** The worker to end when nothing else helps: the one that is furthest above its agent's need, else the largest. */
  get outgrown(): Occupant | undefined {
    let worst: Occupant | undefined
    let most = -Infinity
    for (const worker of this.#context.occupants()) {
      if (worker.state !== 'busy' && worker.state !== 'starting') continue
      const excess = (worker.memoryBytes ?? 0) - this.#needs.of(worker.agent).running.bytes
      // Below its need nobody is to blame; then it is size alone that helps.
      const rank = excess > 0 ? excess : (worker.memoryBytes ?? 0) - Number.MAX_SAFE_INTEGER
      if (rank <= most) continue
      worst = worker
      most = rank
    }
    return worst
  }

  /** Turns that fit at once, with those that run. At least one. */
  get turnsThatFit(): number {
    const room = this.#now(REFUSAL_READING_MS)
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
    const room = this.#now()
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
      hostBytes: this.#reserve.hostBytes,
      workersBytes: this.#workersBytes(),
      reservedBytes: room.reserveBytes,
      chargedBytes,
      reclaimableBytes: this.#reclaimable(undefined),
      headroomBytes: room.limitBytes - room.usedBytes - room.reserveBytes - chargedBytes,
      pressure: this.#pressure.level,
      stallPercent: this.#stall,
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
    const { since } = this.#track(worker)
    return this.#context.now() - since < GROWN_MS ? need : 0
  }

  /** What a worker will have at its peak, going by what it does. */
  #needOf({ agent, state, purpose, memoryBytes }: Occupant): number {
    const { running, idle } = this.#needs.of(agent)
    if (state === 'busy') return running.bytes
    if (state === 'starting') return this.#needToStart(agent, purpose === 'turn' ? 'turn' : 'ahead')
    // One that does nothing does not grow; nor does one that leaves.
    return state === 'idle' ? (memoryBytes ?? idle.bytes) : 0
  }

  #needToStart(agent: string, purpose: 'turn' | 'ahead'): number {
    const { running, idle, starting } = this.#needs.of(agent)
    return Math.max(starting.bytes, purpose === 'turn' ? running.bytes : idle.bytes)
  }

  #charge(claims: Iterable<Claim>): number {
    let bytes = 0
    for (const claim of claims) bytes += this.#chargeOf(claim, claim.worker())
    return bytes
  }

  /** What a turn adds to what is charged for its worker already. */
  #chargeOf({ agent }: Claim, worker: Occupant | undefined): number {
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

  /** The room there is now or was within `maxAgeMs`, with fresh figures of whoever may grow. */
  #now(maxAgeMs: number = READING_MS): Room {
    const { now: clock, source, occupants, limitBytes: own } = this.#context
    const now = clock()
    if (this.#room !== undefined && now - this.#readAt < maxAgeMs) return this.#room
    this.#readAt = now
    if (now - this.#sampledAt >= STALE_ALL_MS) this.#sample(now, false)
    for (const worker of occupants()) this.#measure(worker, now)
    this.#reserve.note(source.host(), now)
    let { level: boundBy, limitBytes, usedBytes } = source.room()
    if (own === Infinity) limitBytes = Infinity
    else if (own !== 'auto') {
      // A limit of our own counts what is ours: the host and its workers.
      const ours = this.#reserve.hostBytes + this.#workersBytes()
      if (own - ours <= limitBytes - usedBytes) [boundBy, limitBytes, usedBytes] = ['limits.memory', own, ours]
    }
    this.#room = { boundBy, limitBytes, usedBytes, reserveBytes: this.#reserve.bytes(limitBytes) }
    return this.#room
  }

  #workersBytes(): number {
    let bytes = 0
    for (const { memoryBytes } of this.#context.occupants()) bytes += memoryBytes ?? 0
    return bytes
  }

  /** Measures all, and learns from it. */
  #sample(now: number, unexplained: boolean): void {
    this.#sampledAt = now
    const workers = [...this.#context.occupants()]
    const measured = this.#context.source.sample(
      workers.flatMap(({ id, process: { pid } }) => (pid === undefined ? [] : [{ id, pid }])),
      unexplained,
    )
    for (const worker of workers) {
      const bytes = measured.get(worker.id)
      if (bytes === undefined) continue
      this.#take(worker, bytes, now)
      this.#learn(worker, this.#track(worker), now)
    }
  }

  #unexplainedBytes(): number {
    const used = this.#room?.usedBytes ?? 0
    return used - this.#reserve.hostBytes - this.#workersBytes()
  }

  /** Measures one that may be growing, if it was not just now. */
  #measure(worker: Occupant, now: number): void {
    const { pid } = worker.process
    const growing = worker.state === 'busy' || worker.state === 'starting' || worker.memoryBytes === undefined
    if (pid === undefined || !growing || now - this.#track(worker).measuredAt < STALE_MS) return
    const bytes = this.#context.source.measure({ id: worker.id, pid })
    if (bytes !== undefined) this.#take(worker, bytes, now)
  }

  #take(worker: Occupant, bytes: number, now: number): void {
    const track = this.#track(worker)
    worker.memoryBytes = bytes
    track.measuredAt = now
    track.peak = Math.max(track.peak, bytes)
  }

  #track(worker: Occupant): Track {
    let track = this.#tracks.get(worker)
    if (track === undefined) {
      const now = this.#context.now()
      track = { measuredAt: -Infinity, peak: 0, since: now, notedAt: now, owed: false }
      this.#tracks.set(worker, track)
    }
    return track
  }

  /** What a worker did is over: its peak is what that needed. */
  #end(worker: Occupant, track: Track, now: number, estimate: { note(bytes: number): void }): void {
    const { pid } = worker.process
    const bytes = pid === undefined ? undefined : this.#context.source.measure({ id: worker.id, pid })
    if (bytes !== undefined) this.#take(worker, bytes, now)
    if (track.peak > 0) estimate.note(track.peak)
    track.owed = false
  }

  #learn(worker: Occupant, track: Track, now: number): void {
    const { running, idle } = this.#needs.of(worker.agent)
    if (track.owed) {
      running.note(track.peak)
      Object.assign(track, { peak: worker.memoryBytes ?? 0, owed: false })
    }
    if (worker.state === 'busy' && now - track.notedAt >= NOTE_RUNNING_MS) {
      running.note(track.peak)
      Object.assign(track, { peak: worker.memoryBytes ?? 0, notedAt: now })
    }
    const settled = track.notedAt === track.since ? SETTLED_MS : NOTE_IDLE_MS
    if (worker.state === 'idle' && now - track.notedAt >= settled) {
      idle.note(worker.memoryBytes ?? 0)
      track.notedAt = now
    }
  }
}
