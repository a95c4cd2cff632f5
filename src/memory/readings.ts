import { LearnedNeeds } from './needs.ts'
import { Reserve } from './reserve.ts'
import type { MemorySource } from './source.ts'

/** A worker, as far as its memory goes. */
export interface Occupant {
  readonly id: string
  readonly agent: string
  readonly state: 'starting' | 'idle' | 'frozen' | 'busy' | 'closing' | 'closed'
  /** `turn`: it was started for one that waits. */
  readonly purpose: string
  readonly process: { readonly pid: number | undefined }
  /** Private memory of its tree in bytes, as last measured. */
  readonly memoryBytes: number | undefined
  recordMemory(bytes: number | undefined): void
}

export interface ReadingsContext {
  now: () => number
  source: MemorySource
  /** `limits.memory`. Infinity: memory bounds nothing. */
  limitBytes: number | 'auto'
  occupants: () => Iterable<Occupant>
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

/** What memory there is. In bytes. */
export interface Room {
  boundBy: string
  limitBytes: number
  usedBytes: number
  reserveBytes: number
}

/** A reading is used for this long unless something has changed, in milliseconds. */
const READING_MS = 20

/** Workers that grow are measured again for a decision when their figures are older than this. */
const STALE_MS = 100

/** All are, when the last look at all is older than this. */
const STALE_ALL_MS = 3_000

/** If this much more is in use than known, an unknown process has come. */
const STRANGER_BYTES = 32 * 2 ** 20

/** A turn that is long is learned from before its end, this often. */
const NOTE_RUNNING_MS = 5_000

/** A worker that has just become idle still holds what its turn needed. */
const SETTLED_MS = 2_000
const NOTE_IDLE_MS = 30_000

/** What is in use, and by which worker: measured only as often as a caller needs it, and learned from. */
export class Readings {
  /** What the workers of each agent were seen to need. */
  readonly needs: LearnedNeeds = new LearnedNeeds()
  readonly #context: ReadingsContext
  readonly #reserve = new Reserve()
  readonly #tracks = new WeakMap<Occupant, Track>()
  #room: Room | undefined
  #readAt = -Infinity
  #sampledAt = -Infinity
  #stallPercent: number | undefined
  /** In use by no known worker, in bytes: cached programs, the kernel, others. */
  #unexplained = Infinity

  constructor(context: ReadingsContext) {
    this.#context = context
  }

  get hostBytes(): number {
    return this.#reserve.hostBytes
  }

  /** As last measured. */
  get workersBytes(): number {
    let bytes = 0
    for (const { memoryBytes } of this.#context.occupants()) bytes += memoryBytes ?? 0
    return bytes
  }

  /** Share of the last 10 s in which a process waited for memory, at the last sample; undefined if unknown. */
  get stallPercent(): number | undefined {
    return this.#stallPercent
  }

  /** How long the worker has been doing what it does, in milliseconds. */
  sinceChange(worker: Occupant): number {
    return this.#context.now() - this.#track(worker).since
  }

  /** Measures everybody, and learns. */
  sample(): void {
    const { now: clock, source } = this.#context
    const now = clock()
    this.#sample(now, false)
    this.#room = undefined
    this.room()
    if (this.#unexplainedBytes() - this.#unexplained > STRANGER_BYTES) this.#sample(now, true)
    // A rise without a known process is sampled again, and only slowly counted as foreign.
    const unexplained = this.#unexplainedBytes()
    const rise = unexplained - this.#unexplained
    this.#unexplained = rise > 0 && Number.isFinite(rise) ? this.#unexplained + rise / 4 : unexplained
    this.#stallPercent = source.stall()
  }

  /** A worker has come, gone, or changed its state. */
  changed(worker: Occupant, from?: Occupant['state']): void {
    const now = this.#context.now()
    const track = this.#track(worker)
    // To take up a turn, or to have ended it, changes nothing of what is in use.
    if (from !== 'idle' && from !== 'busy') this.#room = undefined
    if (from === undefined) return
    const { starting, running } = this.needs.of(worker.agent)
    if (from === 'starting' && worker.state === 'idle') this.#end(worker, track, now, starting)
    // The answer that has just come does not wait for a reading: the next look takes it.
    if (from === 'busy' && worker.state === 'idle') track.owed = true
    else if ((track.owed && worker.state === 'closing') || from === 'busy') this.#end(worker, track, now, running)
    if (!track.owed) track.peak = 0
    Object.assign(track, { since: now, notedAt: now })
  }

  /** The room there is now or was within `maxAgeMs`, with fresh figures of the workers that may grow. */
  room(maxAgeMs: number = READING_MS): Room {
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
      const ours = this.#reserve.hostBytes + this.workersBytes
      if (own - ours <= limitBytes - usedBytes) [boundBy, limitBytes, usedBytes] = ['limits.memory', own, ours]
    }
    this.#room = { boundBy, limitBytes, usedBytes, reserveBytes: this.#reserve.bytes(limitBytes) }
    return this.#room
  }

  /** The latest reading, with so much more in use for each millisecond since; undefined if there is none that holds. */
  roomAtWorst(bytesPerMs: number): Room | undefined {
    if (this.#room === undefined) return undefined
    const takenBytes = (this.#context.now() - this.#readAt) * bytesPerMs
    return { ...this.#room, usedBytes: this.#room.usedBytes + takenBytes }
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
    return used - this.#reserve.hostBytes - this.workersBytes
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
    worker.recordMemory(bytes)
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
    const { running, idle } = this.needs.of(worker.agent)
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
