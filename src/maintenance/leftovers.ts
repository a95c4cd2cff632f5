import { basename, join } from 'node:path'
import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import type { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Retention } from '../options/retention.ts'
import type { StoredSessions } from '../sessions/stored-sessions.ts'
import type { PoolFiles, SessionRecord, Store } from '../store/store.ts'

export interface LeftoversContext {
  clock: Clock
  files: PoolFiles
  store: Store
  driver: Driver
  retention: Retention
  tenantFiles: TenantFiles
  sessions: StoredSessions
}

/** A look removes no more copies than this: the next one goes on. */
const MAX_COPIES = 200

/** One look: what it is about, and what it met. */
export interface Look {
  dryRun: boolean
  stopped: () => boolean
  problems: Problems
}

/** What no session and no process knows: sessions that were cut short as they began or went, and tenants that are no more. */
export class Leftovers {
  readonly #context: LeftoversContext

  constructor(context: LeftoversContext) {
    this.#context = context
  }

  /**
   * Removes what is old enough, or only counts it in a dry run; how many files, folders, copies and directories of tenants that
   * is. What stays is noted, and the work goes on.
   */
  async remove(records: readonly SessionRecord[], look: Look): Promise<number> {
    const before = this.#before
    if (before === undefined) return 0
    return (await this.removeLocal(records, look)) + (await this.#removeCopies({ ...look, before }))
  }

  /** The same for what is on the disk of this host. */
  async removeLocal(records: readonly SessionRecord[], look: Look): Promise<number> {
    const { files, sessions } = this.#context
    const before = this.#before
    if (before === undefined) return 0
    let removed = 0
    for (const [tenant, ofTenant] of Map.groupBy(records, (record) => record.tenant)) {
      if (look.stopped()) return removed
      try {
        removed += await this.#removeWorkspaces(tenant, ofTenant, { ...look, before })
        removed += await this.#removeConversations(tenant, ofTenant, { ...look, before })
      } catch (error) {
        look.problems.take(error)
      }
    }
    const tenants = new Set([...records, ...sessions.inUse].map(({ tenant }) => tenant))
    return removed + (await files.removeUnknownTenants(tenants, { ...look, before }))
  }

  /** What was used since then stays; undefined: all of it does. */
  get #before(): number | undefined {
    const { clock, retention } = this.#context
    return Number.isFinite(retention.leftoversMs) ? calendarOf(clock).earliest - retention.leftoversMs : undefined
  }

  async #removeWorkspaces(
    tenant: string,
    records: readonly SessionRecord[],
    { before, dryRun, problems }: Look & { before: number },
  ): Promise<number> {
    const { files, tenantFiles, sessions } = this.#context
    const { workspaces } = await files.makePlaces(tenant)
    const users = [...records, ...sessions.inUse]
    const directories = new Set(users.flatMap(({ cwd }) => (cwd === undefined ? [] : [basename(cwd)])))
    let removed = 0
    for (const { name } of await tenantFiles.list(workspaces)) {
      const path = join(workspaces, name)
      const found = await tenantFiles.facts(path)
      if (directories.has(name) || found === undefined || found.mtimeMs >= before) continue
      const failed = problems.count
      if (!dryRun) await tenantFiles.remove(path, problems)
      if (problems.count === failed) removed += 1
    }
    return removed
  }

  async #removeConversations(
    tenant: string,
    records: readonly SessionRecord[],
    { before, dryRun, problems }: Look & { before: number },
  ): Promise<number> {
    const { files, driver, tenantFiles, sessions } = this.#context
    const { configDir, tmpDir, earlier } = await files.makePlaces(tenant)
    const uids = new Set(records.map(({ uid }) => uid))
    for (const { name } of await tenantFiles.list(earlier)) {
      if (!uids.has(name) && !dryRun) await tenantFiles.remove(join(earlier, name), problems)
    }
    const known = new Set([...records, ...sessions.inUse].flatMap(({ sdkSessionId }) => sdkSessionId ?? []))
    return driver.forgetUnknown({ configDir, tmpDir }, known, { before, dryRun })
  }

  /** The store's copies of transcripts. */
  async #removeCopies({ before, dryRun }: { before: number; dryRun: boolean }): Promise<number> {
    const { store, sessions } = this.#context
    const used = new Set(sessions.inUse.map(({ sdkSessionId }) => sdkSessionId))
    const found = await store.leftoverTranscripts({ before, limit: MAX_COPIES })
    const copies = found.filter(({ sdkSessionId }) => !used.has(sdkSessionId))
    for (const copy of dryRun ? [] : copies) await store.removeTranscript(copy)
    return copies.length
  }
}
