import { workingSetOf } from './cgroup-levels.ts'
import { fieldOf, filesBelow, readFileLater } from './files.ts'
import type { ReadFile, ReadFileLater } from './files.ts'

/** A measured worker and its process. */
export interface MeasuredWorker {
  readonly id: string
  readonly pid: number
}

type Trees = ReadonlyMap<string, readonly number[]>

/** The processes of each worker, by the worker's id. Costs a look at every process of the machine, in small steps. */
export type ReadTrees = () => Iterator<undefined, Trees>

/** How often processes are assigned to workers, in milliseconds. */
const TREES_MS = 2_000

/** The same while an unknown process takes memory: a tool that has just begun. */
const TREES_SOON_MS = 100

/** One worker is measured exactly at most this often. */
const EXACT_MS = 2_000

/** What costs more waits longer: neither of the two takes more than this part of a core. */
const SHARE_OF_A_CORE = 1 / 400
const SHARE_WHEN_SOON = 1 / 30

/** How much the newest exact measurement moves what is known of workers that had none. */
const SMOOTHING = 0.2

/** Beyond these the two ways to measure do not speak of the same thing. */
const LEAST_RATIO = 0.5
const MOST_RATIO = 2

const AT_PAGESZ = 6n
const AUXV_ENTRY_BYTES = 16

const nextRound = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** The size of a page, from the kernel's note to each process. */
export function pageBytes(read: ReadFile): number {
  const notes = Buffer.from(read('/proc/self/auxv') ?? '', 'latin1')
  for (let at = 0; at + AUXV_ENTRY_BYTES <= notes.length; at += AUXV_ENTRY_BYTES) {
    if (notes.readBigUInt64LE(at) === AT_PAGESZ) return Number(notes.readBigUInt64LE(at + 8))
  }
  return 4_096
}

/** Memory that a process has to itself, in bytes, for 10 µs; undefined when it is gone, or where there is no `/proc`. */
function anonymousOf(pid: number | 'self', page: number, read: ReadFile): number | undefined {
  const [, resident, shared] = (read(`/proc/${pid}/statm`) ?? '').split(' ')
  return shared === undefined ? undefined : (Number(resident) - Number(shared)) * page
}

/** The file that tells the same with pages of files that a process alone has: exactly, for 3 ms. */
const rollupOf = (pid: number): string => `/proc/${pid}/smaps_rollup`

function privateIn(rollup: string | undefined): number | undefined {
  if (rollup === undefined) return undefined
  return (fieldOf(rollup, 'Private_Clean') ?? 0) + (fieldOf(rollup, 'Private_Dirty') ?? 0)
}

/** Private memory of one process in bytes, for lists; undefined where there is no `/proc`, or no such process. */
export const anonymousBytes = (pid: number): number | undefined => {
  const read = filesBelow()
  return anonymousOf(pid, pageBytes(read), read)
}

/**
 * Measures the private memory of whole process trees: all of them cheaply and often, one of them exactly now and then, by
 * which the cheap figures are corrected.
 */
export class TreeMemory {
  readonly #now: () => number
  readonly #read: ReadFile
  readonly #readLater: ReadFileLater
  readonly #readTrees: ReadTrees
  readonly #rest: () => Promise<void>
  readonly #page: number
  /** False where there is no `/proc`: nothing can be measured then, and looking costs more than it tells. */
  readonly #measurable: boolean
  #trees: Trees = new Map()
  #looking: Iterator<undefined, Trees> | undefined
  #treesDueAt = -Infinity
  #treesMayAt = -Infinity
  #exactDueAt = -Infinity
  /** Exact by cheap: of workers that were measured exactly, and of all. */
  #ratios = new Map<string, number>()
  #ratio = 1
  #lastExact: string | undefined
  #correcting = false

  constructor(context: {
    now: () => number
    trees: ReadTrees
    read?: ReadFile
    readLater?: ReadFileLater
    /** Lets others have their turn. */
    rest?: () => Promise<void>
  }) {
    this.#now = context.now
    this.#rest = context.rest ?? nextRound
    this.#readLater = context.readLater ?? readFileLater
    this.#readTrees = context.trees
    this.#read = context.read ?? filesBelow()
    this.#page = pageBytes(this.#read)
    this.#measurable = anonymousOf('self', this.#page, this.#read) !== undefined
  }

  /** Bytes of each worker's tree, if it could be measured. `unexplained`: there may be processes unknown so far. */
  sample(workers: readonly MeasuredWorker[], unexplained: boolean): Map<string, number> {
    if (workers.length > 0 && this.#measurable) {
      const now = this.#now()
      if (unexplained && now >= this.#treesMayAt) this.#lookNow()
      else if (now >= this.#treesDueAt && this.#looking === undefined) void this.#look()
      else if (now >= this.#exactDueAt && !this.#correcting) void this.#correct(workers)
    }
    const found = new Map<string, number>()
    for (const worker of workers) {
      const bytes = this.measure(worker)
      if (bytes !== undefined) found.set(worker.id, bytes)
    }
    return found
  }

  /** Bytes of one worker's tree, cheaply. */
  measure({ id, pid }: MeasuredWorker): number | undefined {
    const main = anonymousOf(pid, this.#page, this.#read)
    if (main === undefined) return undefined
    let bytes = main * (this.#ratios.get(id) ?? this.#ratio)
    for (const other of this.#trees.get(id) ?? []) {
      if (other !== pid) bytes += anonymousOf(other, this.#page, this.#read) ?? 0
    }
    return Math.round(bytes)
  }

  /** Bytes of one worker's tree as it is now, exactly. */
  measureExactly(worker: MeasuredWorker): number | undefined {
    const main = privateIn(this.#read(rollupOf(worker.pid)))
    if (main === undefined) return undefined
    this.#lookNow()
    const others = (this.#trees.get(worker.id) ?? []).filter((pid) => pid !== worker.pid)
    return others.reduce((sum, pid) => sum + (privateIn(this.#read(rollupOf(pid))) ?? 0), main)
  }

  /** Bytes of this process. */
  host(): number {
    return anonymousOf('self', this.#page, this.#read) ?? process.memoryUsage.rss()
  }

  /** All at once: a caller needs the present figures. */
  #lookNow(): void {
    this.#looking = undefined
    const start = this.#now()
    const steps = this.#readTrees()
    for (;;) {
      const trees = this.#step(steps)
      if (trees !== undefined) return this.#recordTrees(trees, this.#now() - start)
    }
  }

  /** Step by step, with the host's own work between. */
  async #look(): Promise<void> {
    const steps = this.#readTrees()
    this.#looking = steps
    let tookMs = 0
    for (;;) {
      const start = this.#now()
      const trees = this.#step(steps)
      tookMs += this.#now() - start
      if (trees !== undefined) return this.#recordTrees(trees, tookMs)
      await this.#rest()
      // Another caller has sampled all at once meanwhile.
      if (this.#looking !== steps) return
    }
  }

  /** What the last step has found. A look that fails leaves what was known: the next one is not far. */
  #step(steps: Iterator<undefined, Trees>): Trees | undefined {
    try {
      const { done, value } = steps.next()
      return done === true ? value : undefined
    } catch {
      return this.#trees
    }
  }

  #recordTrees(trees: Trees, tookMs: number): void {
    this.#looking = undefined
    this.#trees = trees
    const now = this.#now()
    this.#treesDueAt = now + Math.max(TREES_MS, tookMs / SHARE_OF_A_CORE)
    this.#treesMayAt = now + Math.max(TREES_SOON_MS, tookMs / SHARE_WHEN_SOON)
  }

  /** One worker after the other, beside the host's own work: the kernel takes its milliseconds in another thread. */
  async #correct(workers: readonly MeasuredWorker[]): Promise<void> {
    const last = workers.findIndex(({ id }) => id === this.#lastExact)
    const worker = workers[(last + 1) % workers.length]
    if (worker === undefined) return
    this.#lastExact = worker.id
    this.#ratios = new Map(workers.flatMap(({ id }) => [[id, this.#ratios.get(id) ?? this.#ratio]]))
    const start = this.#now()
    const cheap = anonymousOf(worker.pid, this.#page, this.#read)
    this.#correcting = true
    const exact = this.#enclosed(worker) ?? privateIn(await this.#readLater(rollupOf(worker.pid)))
    this.#correcting = false
    this.#exactDueAt = start + Math.max(EXACT_MS, (this.#now() - start) / SHARE_OF_A_CORE)
    if (exact === undefined || cheap === undefined || cheap === 0) return
    const ratio = Math.min(Math.max(exact / cheap, LEAST_RATIO), MOST_RATIO)
    this.#ratios.set(worker.id, ratio)
    this.#ratio += SMOOTHING * (ratio - this.#ratio)
  }

  /** What its own cgroup is charged for its main process: no more than the tree, less what the others have. */
  #enclosed({ id, pid }: MeasuredWorker): number | undefined {
    const path = /^0::(.*)$/m.exec(this.#read(`/proc/${pid}/cgroup`) ?? '')?.[1]
    if (path === undefined || !path.endsWith(`/${id}`)) return undefined
    for (const mount of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
      const tree = workingSetOf({ version: 2, path: `${mount}${path}` }, this.#read)
      if (tree === undefined) continue
      const others = (this.#trees.get(id) ?? []).filter((other) => other !== pid)
      return others.reduce((rest, other) => rest - (anonymousOf(other, this.#page, this.#read) ?? 0), tree)
    }
    return undefined
  }
}
