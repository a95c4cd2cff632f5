import { Problems } from '../files/problem.ts'
import type { StoredSessions } from '../sessions/stored-sessions.ts'
import type { PoolFiles, Store } from '../store/store.ts'

const PAGE = 200

export interface TenantErasureContext {
  store: Store
  files: PoolFiles
  sessions: StoredSessions
}

/** Removes tenants with all that they have. */
export class TenantErasure {
  readonly #context: TenantErasureContext

  constructor(context: TenantErasureContext) {
    this.#context = context
  }

  /** Removes a tenant: sessions, transcripts, workspaces and directories. Throws FilesError for what stays, when all else is gone. */
  async erase(tenant: string): Promise<void> {
    const { sessions, store, files } = this.#context
    await sessions.closeTenant(tenant, async () => {
      for (;;) {
        const records = await store.list({ tenant, limit: PAGE })
        if (records.length === 0) break
        for (const record of records) await sessions.eraseRecord(record)
      }
      // Those of sessions that have gone before, too.
      for (;;) {
        const copies = await store.leftoverTranscripts({ tenant, limit: PAGE })
        if (copies.length === 0) break
        for (const copy of copies) await store.removeTranscript(copy)
      }
      await store.api?.eraseTenant(tenant)
      await store.flush()
      const problems = new Problems()
      await files.removeTenant(tenant, problems)
      const left = problems.error('files_left', `files of tenant "${tenant}" could not be removed; erase it again`)
      if (left !== undefined) throw left
    })
  }
}
