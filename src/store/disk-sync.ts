import { close, fdatasync, openSync } from 'node:fs'
import { promisify } from 'node:util'

const syncData = promisify(fdatasync)
const release = promisify(close)
const nextRound = promisify(setImmediate)

/** Takes what was written to a file to the disk, beside the event loop: one trip at a time, each for all that was written before it. */
export class DiskSync {
  readonly #path: string
  #descriptor: number | undefined
  #underway: Promise<void> | undefined
  /** Begins when the one under way has ended. */
  #next: Promise<void> | undefined
  #failure: Error | undefined
  readonly #sync: (descriptor: number) => Promise<void>

  constructor(path: string, sync: (descriptor: number) => Promise<void> = syncData) {
    this.#path = path
    this.#sync = sync
  }

  /** The file has more to be taken. */
  written(): void {
    this.#next ??= this.#go(this.#underway)
  }

  /** Resolves when all that was written before is on the disk. Rejects with what kept it from getting there. */
  async flush(): Promise<void> {
    await (this.#next ?? this.#underway)
    if (this.#failure !== undefined) throw this.#failure
  }

  async close(): Promise<void> {
    await (this.#next ?? this.#underway)
    if (this.#descriptor !== undefined) await release(this.#descriptor)
    this.#descriptor = undefined
  }

  /** Never rejects: nobody may wait for it. */
  async #go(before: Promise<void> | undefined): Promise<void> {
    await before
    // To set out takes a moment, and whoever has just written has more urgent things to do with it.
    await nextRound()
    this.#underway = this.#next
    this.#next = undefined
    try {
      this.#descriptor ??= openSync(this.#path, 'r')
      await this.#sync(this.#descriptor)
      this.#failure = undefined
    } catch (error) {
      this.#failure = error as Error
    }
    if (this.#next === undefined) this.#underway = undefined
  }
}
