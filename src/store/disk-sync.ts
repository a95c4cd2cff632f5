import { close, fdatasync, openSync } from 'node:fs'
import { promisify } from 'node:util'
import { systemClock } from '../clock.ts'
import type { CancelTimer } from '../clock.ts'

/** Writes without a waiting caller are flushed this much later, together. */
const LAG_MS = 1_000

const syncData = promisify(fdatasync)
const release = promisify(close)

/** Takes what was written to a file to the disk, beside the event loop: one trip at a time, each for all that was written before it. */
export class DiskSync {
  readonly #path: string
  readonly #sync: (descriptor: number) => Promise<void>
  #descriptor: number | undefined
  /** True while something was written that no trip has set out with. */
  #waiting = false
  #due: CancelTimer | undefined
  #underway: Promise<void> | undefined
  /** Begins when the one under way has ended. */
  #next: Promise<void> | undefined
  #failure: Error | undefined

  constructor(path: string, sync: (descriptor: number) => Promise<void> = syncData) {
    this.#path = path
    this.#sync = sync
  }

  /** The file has more to be taken: within a second, or at once if a caller waits for it. */
  written(): void {
    this.#waiting = true
    this.#due ??= systemClock.after(LAG_MS, () => void this.#setOut())
  }

  /** Resolves when all that was written before is on the disk. Rejects with what kept it from getting there. */
  async flush(): Promise<void> {
    await (this.#waiting ? this.#setOut() : this.#underway)
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Ends it, whatever is written: the database that closes has seen to that. */
  async close(): Promise<void> {
    this.#waiting = false
    this.#due?.()
    await (this.#next ?? this.#underway)
    if (this.#descriptor !== undefined) await release(this.#descriptor)
    this.#descriptor = undefined
  }

  #setOut(): Promise<void> {
    this.#next ??= this.#go(this.#underway)
    return this.#next
  }

  /** Never rejects: it may have no caller. */
  async #go(before: Promise<void> | undefined): Promise<void> {
    await before
    this.#underway = this.#next
    this.#next = undefined
    this.#waiting = false
    this.#due?.()
    this.#due = undefined
    try {
      // Windows takes no file to the disk that was opened for reading alone.
      this.#descriptor ??= openSync(this.#path, 'r+')
      await this.#sync(this.#descriptor)
      this.#failure = undefined
    } catch (error) {
      this.#failure = error as Error
    }
    if (this.#next === undefined) this.#underway = undefined
  }
}
