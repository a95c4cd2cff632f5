import type { MemoryRoom } from './limit.ts'
import type { MeasuredWorker } from './tree-memory.ts'

/** The source of a pool's memory figures. Two: the system's, and a fake for tests. */
export interface MemorySource {
  /** The limit that binds, and what is in use there now. */
  room(): MemoryRoom
  /** Share of the last 10 s, in percent, in which a task waited for memory; undefined if unknown. */
  stall(): number | undefined
  /**
   * Private memory of each worker's process tree in bytes, if it could be measured. Asked about twice a second.
   * `unexplained`: more is in use than the known processes take, so there may be new ones.
   */
  sample(workers: readonly MeasuredWorker[], unexplained: boolean): ReadonlyMap<string, number>
  /** The same of one worker, now. */
  measure(worker: MeasuredWorker): number | undefined
  /** The same, exactly: for a decision that ends a turn. */
  measureExactly(worker: MeasuredWorker): number | undefined
  /** The host's own, in bytes. */
  host(): number
}
