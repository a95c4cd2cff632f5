import { cgroupLevels, limitOf, workingSetOf } from './cgroup-levels.ts'
import type { CgroupLevel } from './cgroup-levels.ts'
import { fieldOf, filesBelow } from './files.ts'
import type { ReadFile } from './files.ts'

/** Memory at the level with the least room for this process and its children. */
export interface MemoryRoom {
  /** What bounds it: a cgroup's directory, or `machine`. */
  level: string
  limitBytes: number
  /** Memory in use there by all processes, without reclaimable caches. */
  usedBytes: number
}

/** What the machine has, where `/proc/meminfo` does not say it. In bytes. */
export interface MachineMemory {
  total: number
  free: number
}

/** Limits change seldom: they are read anew this often, in milliseconds; of `/proc` and cgroups, use is read each time. */
const SURVEY_MS = 2_000

/** Reads how much memory this process may use and how much is in use: cgroups of both versions up the tree, and the machine. */
export class MemoryLimit {
  readonly #read: ReadFile
  readonly #machine: () => MachineMemory
  readonly #now: () => number
  #bounded: { level: CgroupLevel; limitBytes: number }[] = []
  #own: CgroupLevel | undefined
  #surveyedAt = -Infinity
  /** As the platform's tool told it: a process of its own, so not asked each time. */
  #told: MachineMemory | undefined

  constructor(context: { now: () => number; machine: () => MachineMemory; read?: ReadFile }) {
    this.#now = context.now
    this.#machine = context.machine
    this.#read = context.read ?? filesBelow()
  }

  /** The level with least room now. */
  read(): MemoryRoom {
    if (this.#now() - this.#surveyedAt >= SURVEY_MS) this.#survey()
    let tightest = this.#readMachine()
    for (const { level, limitBytes } of this.#bounded) {
      const usedBytes = workingSetOf(level, this.#read)
      if (usedBytes === undefined) continue
      // A limit above what the machine has is none.
      const room = { level: level.path, limitBytes, usedBytes }
      if (limitBytes - usedBytes <= tightest.limitBytes - tightest.usedBytes) tightest = room
    }
    return tightest
  }

  /** Share of the last 10 s, in percent, in which a process waited for memory; undefined if the kernel does not say. */
  readStall(): number | undefined {
    const own = this.#own === undefined ? undefined : this.#read(`${this.#own.path}/memory.pressure`)
    const match = /^some avg10=([\d.]+)/m.exec(own ?? this.#read('/proc/pressure/memory') ?? '')
    return match?.[1] === undefined ? undefined : Number(match[1])
  }

  #survey(): void {
    this.#surveyedAt = this.#now()
    this.#told = undefined
    const levels = cgroupLevels(this.#read('/proc/self/cgroup') ?? '', this.#read)
    this.#own = levels[0]
    const { limitBytes: machine } = this.#readMachine()
    this.#bounded = levels
      .map((level) => ({ level, limitBytes: limitOf(level, this.#read) }))
      .filter(({ limitBytes }) => limitBytes < machine)
  }

  #readMachine(): MemoryRoom {
    const text = this.#read('/proc/meminfo') ?? ''
    const total = fieldOf(text, 'MemTotal')
    const available = fieldOf(text, 'MemAvailable')
    if (total !== undefined && available !== undefined) {
      return { level: 'machine', limitBytes: total, usedBytes: total - available }
    }
    const { total: limitBytes, free } = (this.#told ??= this.#machine())
    return { level: 'machine', limitBytes, usedBytes: limitBytes - free }
  }
}
