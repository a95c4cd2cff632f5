import type { Clock } from '../clock.ts'
import type { PoolEmitter } from '../events.ts'
import { Problems } from '../files/problem.ts'
import type { PoolFiles, Store } from '../store/store.ts'

/** What the files of a tenant take on the disk. */
export interface TenantDiskUse {
  tenant: string
  /** Of its workspaces, config directories and home. Not of the store. */
  bytes: number
  /** Milliseconds since the epoch. */
  countedAt: number
}

interface DiskUseContext {
  clock: Clock
  store: Pick<Store, 'list'>
  files: Pick<PoolFiles, 'sizeOf'>
  emitter: PoolEmitter
}

/** A count holds so long: it looks at every file. */
const RECOUNT_MS = 10 * 60_000

/** Tenants beyond these are not counted. */
const MAX_TENANTS = 1_000

/** Follows every key of a tenant. */
const AFTER_ALL = '\u{10FFFF}'

/** Counts what the files of each tenant take, beside everything else, as long as they are asked for. */
export class DiskUse {
  readonly #context: DiskUseContext
  #counts: readonly TenantDiskUse[] = []
  #countedAt = -Infinity
  #isCounting = false
  #stopped = false

  constructor(context: DiskUseContext) {
    this.#context = context
  }

  /** As last counted. Old counts are renewed meanwhile, for the next call. */
  read(): readonly TenantDiskUse[] {
    if (!this.#stopped && !this.#isCounting && this.#context.clock.now() - this.#countedAt >= RECOUNT_MS)
      void this.#count()
    return this.#counts
  }

  /** Counts no more. A count that looks at files ends by itself. */
  stop(): void {
    this.#stopped = true
  }

  async #count(): Promise<void> {
    const { clock, files, emitter } = this.#context
    const counts: TenantDiskUse[] = []
    this.#isCounting = true
    try {
      for await (const tenant of this.#tenants()) {
        if (this.#stopped) return
        counts.push({ tenant, bytes: await files.sizeOf(tenant, new Problems()), countedAt: clock.wall() })
      }
      this.#counts = counts
    } catch (error) {
      if (this.#stopped) return
      emitter.tell('warning', { message: 'the files of tenants could not be counted', error })
    } finally {
      this.#isCounting = false
      this.#countedAt = clock.now()
    }
  }

  /** Yields each tenant that has sessions. */
  async *#tenants(): AsyncGenerator<string> {
    let after: { tenant: string; key: string } | undefined
    for (let count = 0; count < MAX_TENANTS; count += 1) {
      const [next] = await this.#context.store.list({ limit: 1, ...(after === undefined ? {} : { after }) })
      if (next === undefined) return
      yield next.tenant
      after = { tenant: next.tenant, key: AFTER_ALL }
    }
  }
}
