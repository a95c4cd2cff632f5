import type { MemoryRoom } from './limit.ts'
import type { MeasuredWorker } from './usage.ts'

/** Where a pool learns how much memory there is and who uses it. Two: the system's, and a fake for tests. */
export interface MemorySource {
  /** The limit that binds, and what is in use there now. */
  room(): MemoryRoom
  /** Share of the last 10 s, in percent, in which somebody waited for memory; undefined where nobody knows. */
  stall(): number | undefined
  /**
   * Private memory of each worker's process tree in bytes, of those that could be measured. Asked about twice a second.
   * `unexplained`: more is in use than anybody was seen to take, so there may be processes that nobody has looked at.
   */
  sample(workers: readonly MeasuredWorker[], unexplained: boolean): ReadonlyMap<string, number>
  /** The same of one worker, now. */
  measure(worker: MeasuredWorker): number | undefined
  /** The same, exactly: for a decision that ends a turn. */
  measureExactly(worker: MeasuredWorker): number | undefined
  /** The host's own, in bytes. */
  host(): number
}
