import type { Clock } from '../clock.ts'
import type { WorkerCgroup } from '../process/cgroup.ts'
import { chargedBytes, reclaim, swapSpace, swappedBytes } from '../process/cgroup-memory.ts'

/** The share of what is charged to a worker that stays in memory: what it needs first when it goes on. */
const KEPT = 0.25

/** Freezing pays if this share of what was charged is left at most. */
const PAYS_BELOW = 0.6

/** So much of the swap stays free: a machine without any is one step from its OOM killer. */
const SWAP_KEPT = 0.25

/** Says whether processes can be frozen on this machine: it must have swap with room, and the first that is frozen must shrink. */
export class Freezing {
  readonly #trouble: (message: string, error: unknown) => void
  readonly #root: string
  #isUseless = false

  constructor(trouble: (message: string, error: unknown) => void, root = '') {
    this.#trouble = trouble
    this.#root = root
  }

  get isPossible(): boolean {
    if (this.#isUseless) return false
    const { totalBytes, freeBytes } = swapSpace(this.#root)
    return totalBytes > 0 && freeBytes >= totalBytes * SWAP_KEPT
  }

  /** One was paged out as far as the kernel would. */
  record(beforeBytes: number, afterBytes: number): void {
    if (this.#isUseless || afterBytes <= beforeBytes * PAYS_BELOW) return
    this.#isUseless = true
    this.#trouble('idle processes are not frozen any more: the kernel paged out less than half of one', undefined)
  }
}

/** One worker's processes: stopped by their cgroup, and paged out. */
export class FrozenTree {
  readonly #cgroup: WorkerCgroup
  readonly #freezing: Freezing
  readonly #clock: Clock
  #abandon: (() => void) | undefined

  constructor(cgroup: WorkerCgroup, freezing: Freezing, clock: Clock) {
    this.#cgroup = cgroup
    this.#freezing = freezing
    this.#clock = clock
  }

  get isPossible(): boolean {
    return this.#cgroup.canFreeze && this.#freezing.isPossible
  }

  get swappedBytes(): number | undefined {
    return this.#cgroup.memory && swappedBytes(this.#cgroup.memory)
  }

  freeze(): void {
    const { memory } = this.#cgroup
    this.#cgroup.freeze()
    if (memory === undefined) return
    const before = chargedBytes(memory) ?? 0
    const { abandon, done } = reclaim(memory, before * KEPT, this.#clock)
    this.#abandon = abandon
    void done.then(() => {
      if (this.#abandon !== abandon) return
      this.#abandon = undefined
      this.#freezing.record(before, chargedBytes(memory) ?? 0)
    })
  }

  thaw(): void {
    const abandon = this.#abandon
    this.#abandon = undefined
    abandon?.()
    this.#cgroup.thaw()
  }
}
