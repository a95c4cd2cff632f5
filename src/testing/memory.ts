import type { MeasuredWorker, MemoryRoom, MemorySource } from '../index.ts'
import type { FakeDriver } from './driver.ts'

const MIB = 2 ** 20

/**
 * Memory of a simulated machine: the host's use, the use of others, and the value of each fake process
 * (`process.memoryBytes`). Change any of them at any time; the pool measures again as its clock moves on.
 */
export class FakeMemory implements MemorySource {
  limitBytes: number
  /** What the host uses. Default 100 MiB. */
  hostBytes: number = 100 * MIB
  /** Memory in use by other processes in the same container. Default 0. */
  othersBytes = 0
  /** Share of the last 10 s, in percent, in which a task waited for memory. Default: undefined. */
  stallPercent: number | undefined
  readonly #driver: FakeDriver

  constructor(limitBytes: number, driver: FakeDriver) {
    this.limitBytes = limitBytes
    this.#driver = driver
  }

  room(): MemoryRoom {
    const processes = this.#driver.living.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
    return {
      level: 'fake',
      limitBytes: this.limitBytes,
      usedBytes: this.hostBytes + this.othersBytes + processes,
    }
  }

  stall(): number | undefined {
    return this.stallPercent
  }

  sample(workers: readonly MeasuredWorker[]): Map<string, number> {
    const byPid = new Map(this.#driver.living.map(({ pid, memoryBytes }) => [pid, memoryBytes]))
    return new Map(
      workers.flatMap(({ id, pid }) => {
        const bytes = byPid.get(pid)
        return bytes === undefined ? [] : [[id, bytes]]
      }),
    )
  }

  measure({ pid }: MeasuredWorker): number | undefined {
    return this.#driver.living.find((process) => process.pid === pid)?.memoryBytes
  }

  measureExactly(worker: MeasuredWorker): number | undefined {
    return this.measure(worker)
  }

  host(): number {
    return this.hostBytes
  }
}
