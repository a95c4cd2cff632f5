import { readdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import type { Retention } from '../options/retention.ts'
import type { PoolFiles, SessionRecord, Store, TenantPlaces } from '../store/store.ts'

export interface LeftoversContext {
  clock: Clock
  files: PoolFiles
  store: Store
  driver: Driver
  retention: Retention
  places: (tenant: string) => Promise<TenantPlaces>
  removeWorkspace: (path: string) => Promise<void>
  /** Tenants, directories and conversations of processes that are there now. */
  inUse: () => { tenant: string; cwd: string; sdkSessionId: string | undefined }[]
}

/** A look removes no more copies than this: the next one goes on. */
const MAX_COPIES = 200

/** What no session and no process knows: sessions that were cut short as they began or went, and tenants that are no more. */
export class Leftovers {
  readonly #context: LeftoversContext

  constructor(context: LeftoversContext) {
    this.#context = context
  }

  /** Removes what is old enough, or only counts it in a dry run; how many files, folders, copies and directories of tenants that is. */
  async remove(
    records: readonly SessionRecord[],
    { dryRun, stopped }: { dryRun: boolean; stopped: () => boolean },
  ): Promise<number> {
    const { clock, retention, files, inUse } = this.#context
    if (!Number.isFinite(retention.leftoversMs)) return 0
    const before = clock.wall() - retention.leftoversMs
    let removed = 0
    for (const [tenant, ofTenant] of Map.groupBy(records, (record) => record.tenant)) {
      if (stopped()) return removed
      removed += await this.#removeOf(tenant, ofTenant, { before, dryRun })
    }
    removed += await this.#removeCopies({ before, dryRun })
    const tenants = new Set([...records, ...inUse()].map(({ tenant }) => tenant))
    return removed + (await files.removeUnknownTenants(tenants, { before, dryRun }))
  }

  async #removeOf(
    tenant: string,
    records: readonly SessionRecord[],
    { before, dryRun }: { before: number; dryRun: boolean },
  ): Promise<number> {
    const { places, driver, inUse, removeWorkspace } = this.#context
    const { configDir, tmpDir, workspaces, earlier } = await places(tenant)
    const users = [...records, ...inUse()]
    const directories = new Set(users.flatMap(({ cwd }) => (cwd === undefined ? [] : [basename(cwd)])))
    let removed = 0
    for (const name of await readdir(workspaces)) {
      const path = join(workspaces, name)
      const found = await stat(path).catch(() => undefined)
      if (directories.has(name) || found === undefined || found.mtimeMs >= before) continue
      removed += 1
      if (!dryRun) await removeWorkspace(path)
    }
    const uids = new Set(records.map(({ uid }) => uid))
    for (const uid of await readdir(earlier)) {
      if (!uids.has(uid) && !dryRun) await rm(join(earlier, uid), { force: true })
    }
    const known = new Set(users.flatMap(({ sdkSessionId }) => sdkSessionId ?? []))
    return removed + (await driver.forgetUnknown({ configDir, tmpDir }, known, { before, dryRun }))
  }

  /** The store's copies of transcripts. */
  async #removeCopies({ before, dryRun }: { before: number; dryRun: boolean }): Promise<number> {
    const { store, inUse } = this.#context
    const used = new Set(inUse().map(({ sdkSessionId }) => sdkSessionId))
    const found = await store.leftoverTranscripts({ before, limit: MAX_COPIES })
    const copies = found.filter(({ sdkSessionId }) => !used.has(sdkSessionId))
    for (const copy of dryRun ? [] : copies) await store.removeTranscript(copy)
    return copies.length
  }
}
