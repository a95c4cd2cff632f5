import type { Clock } from '../clock.ts'
import type { FileProblem } from '../errors.ts'
import { SessionBusyError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { checkOptions } from '../options/unknown.ts'
import type { StoredSessions } from '../sessions/stored-sessions.ts'
import type { TranscriptCopies } from '../sessions/transcript-copies.ts'
import { isElsewhere } from '../sessions/session-files.ts'
import type { PoolFiles, SessionRecord, Store } from '../store/store.ts'
import type { ArchiveParts } from './archive-part.ts'
import { writeArchive } from './archive.ts'

/** How a session is exported. */
export interface ExportOptions {
  /** The tenant of the session. Default `"default"`. */
  tenant?: string
  /** Whether the files of its workspace are in it. Default `true`. */
  workspace?: boolean
}

const EXPORT_OPTIONS: Record<keyof ExportOptions, true> = { tenant: true, workspace: true }

export interface SessionExportContext {
  clock: Clock
  store: Store
  sessions: StoredSessions
  transcripts: TranscriptCopies
  tenantFiles: TenantFiles
  files: PoolFiles
  emitter: PoolEmitter
  parts: ArchiveParts
}

/** Writes sessions as lines of JSON. */
export class SessionExport {
  readonly #context: SessionExportContext

  constructor(context: SessionExportContext) {
    this.#context = context
  }

  /** The session as lines of JSON; returns what was left out. */
  async *lines(key: string, options: ExportOptions): AsyncGenerator<string, readonly FileProblem[]> {
    checkOptions('exportSession()', options, EXPORT_OPTIONS)
    const { tenant = 'default', workspace = true } = options
    const { sessions, store, transcripts, clock, tenantFiles, emitter } = this.#context
    using held = await sessions.holdIdle(tenant, key)
    const { record, ownership } = held
    const { turns } = record
    const { cwd, ownsCwd } = record
    const problems = new Problems()
    const elsewhere = workspace && isElsewhere(record, this.#context.files)
    if (elsewhere)
      problems.add({
        path: cwd ?? '',
        reason: 'failed',
        detail: 'is the workspace of the host that ran the session last',
      })
    const transcript = await transcripts.files(record, ownership, problems)
    const source = {
      record,
      store,
      tenantFiles,
      transcript,
      workspace: workspace && ownsCwd && !elsewhere ? cwd : undefined,
      problems,
      parts: await this.#partsOf(record),
    }
    yield* writeArchive(source, clock.wall())
    if (held.busy() || record.turns !== turns)
      throw new SessionBusyError(
        `session "${key}" ran a turn while it was exported; what was written is not whole: export it again`,
      )
    emitter.warnOf(`the export of session "${key}" lacks files`, problems)
    return problems.found
  }

  async #partsOf({ tenant, key }: SessionRecord): Promise<Record<string, object>> {
    const parts: Record<string, object> = {}
    for (const part of this.#context.parts.values()) {
      const kept = await part.read(tenant, key)
      if (kept !== undefined) parts[part.name] = kept
    }
    return parts
  }
}
