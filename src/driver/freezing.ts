import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { lineOf, swapSpace } from '../process/cgroup-memory.ts'
import { textOf } from '../process/cgroup-tree.ts'

/** Freezing pays if this share of what was charged is left at most. */
const PAYS_BELOW = 0.6

/** So much of the swap stays free: a machine without any is one step from its OOM killer. */
const SWAP_KEPT = 0.25

/** Tasks that wait for memory in this share of the last 10 s, in percent, are the machine's first sign of thrashing. */
const STALLED_PERCENT = 10

/** Where the kernel does not say how long tasks wait: a slow disk reads this much in a second, and then does nothing else. In bytes. */
const SLOW_DISK = 64 * 2 ** 20

/** The swap is looked at so often, in milliseconds. */
const LOOK_MS = 1_000

const PAGE = 4_096

/** Says whether processes can be frozen on this machine: it must have swap with room that keeps up, and the first that is frozen must shrink. */
export class Freezing {
  readonly #trouble: (message: string, error: unknown) => void
  readonly #clock: Pick<Clock, 'now'>
  readonly #root: string
  #isUseless = false
  #latest: { at: number; swappedInBytes: number; isPossible: boolean } | undefined

  constructor(trouble: (message: string, error: unknown) => void, clock: Pick<Clock, 'now'>, root = '') {
    this.#trouble = trouble
    this.#clock = clock
    this.#root = root
  }

  get isPossible(): boolean {
    if (this.#isUseless) return false
    const now = this.#clock.now()
    if (this.#latest === undefined || now - this.#latest.at >= LOOK_MS) this.#look(now)
    return this.#latest?.isPossible === true
  }

  /** One was paged out as far as the kernel would. */
  record(beforeBytes: number, afterBytes: number): void {
    if (this.#isUseless || afterBytes <= beforeBytes * PAYS_BELOW) return
    this.#isUseless = true
    this.#trouble('idle processes are not frozen any more: the kernel paged out less than half of one', undefined)
  }

  #look(now: number): void {
    const { totalBytes, freeBytes } = swapSpace(this.#root)
    const swappedInBytes = (lineOf(this.#read('/proc/vmstat'), 'pswpin') ?? 0) * PAGE
    const isPossible = totalBytes > 0 && freeBytes >= totalBytes * SWAP_KEPT && !this.#isThrashing(now, swappedInBytes)
    this.#latest = { at: now, swappedInBytes, isPossible }
  }

  /** True while tasks wait for what was paged out: more of it would make them wait longer. */
  #isThrashing(now: number, swappedInBytes: number): boolean {
    const stalled = /^some avg10=([\d.]+)/m.exec(this.#read('/proc/pressure/memory') ?? '')?.[1]
    if (stalled !== undefined) return Number(stalled) >= STALLED_PERCENT
    if (this.#latest === undefined) return false
    const seconds = (now - this.#latest.at) / 1_000
    return swappedInBytes - this.#latest.swappedInBytes > SLOW_DISK * seconds
  }

  #read(path: string): string | undefined {
    return textOf(join(this.#root, path))
  }
}
