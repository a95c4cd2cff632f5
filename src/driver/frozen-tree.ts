import type { Clock } from '../clock.ts'
import type { WorkerCgroup } from '../process/cgroup.ts'
import { chargedBytes, reclaim, swappedBytes } from '../process/cgroup-memory.ts'
import type { Freezing } from './freezing.ts'

/** The share of what is charged to a worker that stays in memory: what it needs first when it goes on. */
const KEPT = 0.25

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
