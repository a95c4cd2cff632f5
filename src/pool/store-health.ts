import type { Clock } from '../clock.ts'
import { StoreError } from '../errors.ts'
import type { StoreErrorCode } from '../errors.ts'
import type { PoolFiles } from '../store/store.ts'
import type { PoolEmitter } from '../events.ts'

/** What keeps the pool from keeping anything, as `pool.stats()` shows it. */
export interface StoreHealthStats {
  /** The code that a StoreError would have now; undefined: all is well. */
  trouble: StoreErrorCode | undefined
  /** Free on the disk of the data directory, as last looked at; undefined until then. */
  freeBytes: number | undefined
}

export interface StoreHealthContext {
  clock: Clock
  emitter: PoolEmitter
  files: Pick<PoolFiles, 'checkDisk'>
}

/** Between two looks at the disk. */
const LOOK_MS = 2_000

/** Failures that do not pass with the call: whatever comes next would fail, too. */
const LASTING: ReadonlySet<StoreErrorCode> = new Set(['disk_full', 'read_only', 'corrupt'])

/** Knows whether what is said can be kept: by calls of the store that fail, and by looks at the disk of the data directory. */
export class StoreHealth {
  readonly #context: StoreHealthContext
  #trouble: StoreErrorCode | undefined
  #freeBytes: number | undefined
  #failedAt = -Infinity
  #nextLookAt = -Infinity
  #looking: Promise<void> | undefined
  #stopped = false

  constructor(context: StoreHealthContext) {
    this.#context = context
  }

  get stats(): StoreHealthStats {
    return { trouble: this.#trouble, freeBytes: this.#freeBytes }
  }

  /** A call of the store has failed. */
  recordFailure(error: unknown): void {
    if (!(error instanceof StoreError) || !LASTING.has(error.code)) return
    this.#failedAt = this.#context.clock.now()
    this.#set(error.code)
  }

  /** Called now and then: looks at the disk when it is time. */
  tend(): void {
    const now = this.#context.clock.now()
    if (this.#stopped || this.#looking !== undefined || now < this.#nextLookAt) return
    this.#nextLookAt = now + LOOK_MS
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined
    })
  }

  /** Looks no more; resolves when the look that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#looking
  }

  async #look(): Promise<void> {
    const { clock, files } = this.#context
    const begunAt = clock.now()
    const before = this.#trouble
    const { freeBytes, trouble } = await files.checkDisk({ thorough: before !== undefined })
    if (this.#stopped) return
    this.#freeBytes = freeBytes
    // What failed meanwhile is newer than what was seen.
    if (this.#failedAt > begunAt) return
    // A damaged file stays damaged, and a look at the disk finds nothing of it.
    this.#set(trouble ?? (before === 'corrupt' ? before : undefined))
  }

  #set(trouble: StoreErrorCode | undefined): void {
    const from = this.#trouble
    if (trouble === from) return
    this.#trouble = trouble
    this.#context.emitter.tell('store.health', { trouble, from, freeBytes: this.#freeBytes })
  }
}
