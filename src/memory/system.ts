import { MemoryLimit } from './limit.ts'
import type { MachineMemory, MemoryRoom } from './limit.ts'
import type { MemorySource } from './source.ts'
import { TreeMemory } from './tree-memory.ts'
import type { MeasuredWorker, ReadTrees } from './tree-memory.ts'

/** Memory as the system shows it: cgroups, `/proc`, and the machine's own figures. */
export class SystemMemory implements MemorySource {
  readonly #limit: MemoryLimit
  readonly #usage: TreeMemory

  constructor(context: { now: () => number; trees: ReadTrees; machine: () => MachineMemory }) {
    this.#limit = new MemoryLimit(context)
    this.#usage = new TreeMemory(context)
  }

  room(): MemoryRoom {
    return this.#limit.read()
  }

  stall(): number | undefined {
    return this.#limit.readStall()
  }

  sample(workers: readonly MeasuredWorker[], unexplained: boolean): Map<string, number> {
    return this.#usage.sample(workers, unexplained)
  }

  measure(worker: MeasuredWorker): number | undefined {
    return this.#usage.measure(worker)
  }

  measureExactly(worker: MeasuredWorker): number | undefined {
    return this.#usage.measureExactly(worker)
  }

  host(): number {
    return this.#usage.host()
  }
}
