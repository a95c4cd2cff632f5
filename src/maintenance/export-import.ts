import { join, resolve } from 'node:path'
import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { ConfigError, SessionBusyError, SessionConflictError, StoreError, storeError } from '../errors.ts'
import type { FileProblem } from '../errors.ts'
import { chosenPath, newCopy } from '../files/host-paths.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { checkOptions } from '../options/unknown.ts'
import type { PoolFiles, SessionRecord, Store, TenantPlaces } from '../store/store.ts'
import { openArchive, readArchive, writeArchive } from './archive.ts'
import type { PoolEmitter } from '../events.ts'
import type { KeptSessions } from '../sessions/stored-sessions.ts'
import { existingDirectory } from '../sessions/session-record.ts'
import type { Transcripts } from '../sessions/transcript-copies.ts'

/** How an exported session comes back. */
export interface ImportOptions {
  /** Default: those that it had. */
  tenant?: string
  key?: string
  agent?: string
  /**
   * For a session whose directory the pool does not own. Default: that of its agent. An archive may name any directory, so what it says
   * is not used.
   */
  cwd?: string
}

/** How a session is exported. */
export interface ExportOptions {
  /** Whose session it is. Default `"default"`. */
  tenant?: string
  /** Whether the files of its workspace are in it. Default `true`. */
  workspace?: boolean
}

const EXPORT_OPTIONS: Record<keyof ExportOptions, true> = { tenant: true, workspace: true }

const IMPORT_OPTIONS: Record<keyof ImportOptions, true> = { tenant: true, key: true, agent: true, cwd: true }

export interface UpkeepContext {
  clock: Clock
  store: Store
  files: PoolFiles
  driver: Driver
  sessions: KeptSessions
  transcripts: Transcripts
  places: (tenant: string) => Promise<TenantPlaces>
  tenantFiles: TenantFiles
  emitter: PoolEmitter
  /** Where an agent's processes run; undefined for an agent without a directory of its own, and for none. */
  cwdOfAgent: (agent: string) => string | undefined
}

/** What a backup has left out: files that could not be copied, at most 100 of them. */
export interface BackupReport {
  leftOut: readonly FileProblem[]
}

const PAGE = 200

/** How what is kept gets out and in. */
export class Upkeep {
  readonly #context: UpkeepContext

  constructor(context: UpkeepContext) {
    this.#context = context
  }

  /** Removes a tenant: sessions, transcripts, workspaces and directories. Throws FilesError for what stays, when all else is gone. */
  async eraseTenant(tenant: string): Promise<void> {
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
      await store.flush()
      const problems = new Problems()
      await files.removeTenant(tenant, problems)
      const left = problems.error('files_left', `files of tenant "${tenant}" could not be removed; erase it again`)
      if (left !== undefined) throw left
    })
  }

  /** The session as lines of JSON; returns what was left out. */
  async *export(key: string, options: ExportOptions): AsyncGenerator<string, readonly FileProblem[]> {
    checkOptions('exportSession()', options, EXPORT_OPTIONS)
    const { tenant = 'default', workspace = true } = options
    const { sessions, store, transcripts, clock, tenantFiles, emitter } = this.#context
    using held = await sessions.holdIdle(tenant, key)
    const { record } = held
    const { turns } = record
    const { cwd, ownsCwd } = record
    const problems = new Problems()
    const transcript = await transcripts.files(record, problems)
    const source = {
      record,
      store,
      tenantFiles,
      transcript,
      workspace: workspace && ownsCwd ? cwd : undefined,
      problems,
    }
    yield* writeArchive(source, clock.wall())
    if (held.busy() || record.turns !== turns)
      throw new SessionBusyError(
        `session "${key}" ran a turn while it was exported; what was written is not whole: export it again`,
      )
    emitter.warnOf(`the export of session "${key}" lacks files`, problems)
    return problems.found
  }

  /** Brings an exported session back. */
  async import(lines: AsyncIterable<string>, options: ImportOptions): Promise<SessionRecord> {
    checkOptions('importSession()', options, IMPORT_OPTIONS)
    const { sessions, store, driver, transcripts, places, tenantFiles } = this.#context
    const archive = await openArchive(lines)
    const { record: from } = archive
    const record: SessionRecord = {
      ...from,
      uid: randomUUID(),
      tenant: options.tenant ?? from.tenant,
      key: options.key ?? from.key,
      agent: options.agent ?? from.agent,
      cwd: undefined,
      sdkSessionId: from.sdkSessionId,
      usage: from.usage,
    }
    const { sdkSessionId } = record
    if (sdkSessionId !== undefined && (await store.findBySdkSessionId(sdkSessionId)) !== undefined) {
      throw new SessionConflictError(
        `the conversation ${sdkSessionId} is here already; delete its session first, or fork it`,
      )
    }
    const { configDir, tmpDir, workspaces } = await places(record.tenant)
    const workspace = join(workspaces, record.uid)
    if (!from.ownsCwd && from.cwd !== undefined) record.cwd = await this.#directoryFor(record.agent, from.cwd, options)
    else if (options.cwd !== undefined)
      throw new ConfigError('cwd', 'cannot be chosen: the session has a workspace of its own')
    else if (from.ownsCwd) record.cwd = workspace
    const cwd = record.cwd ?? workspace
    const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId ?? record.uid }
    if (record.ownsCwd) await tenantFiles.makeFolder(cwd)
    const { folder, names } = await driver.transcript(place)
    if (names.length > 0)
      throw new SessionConflictError(`there is a transcript of ${sdkSessionId} in ${folder} already`)
    await sessions.adopt(record, async (events) => {
      const transcript = sdkSessionId === undefined ? undefined : { folder, sessionId: sdkSessionId }
      const target = { tenantFiles, transcript, workspace: record.ownsCwd ? workspace : undefined, events }
      await readArchive(archive, target)
      await transcripts.reconcile(record)
    })
    return record
  }

  /** Where a session runs that had a directory of its caller's. */
  async #directoryFor(agent: string, before: string, { cwd }: ImportOptions): Promise<string> {
    const chosen = cwd ?? this.#context.cwdOfAgent(agent)
    if (chosen !== undefined) return existingDirectory(chosen)
    throw new ConfigError(
      'cwd',
      `must be named: the session ran in ${JSON.stringify(before)}, and an archive does not choose where an agent runs`,
    )
  }

  /** Writes a copy of everything into a new directory, which can take the place of the data directory. */
  async backup(to: string): Promise<BackupReport> {
    const { store, files, emitter } = this.#context
    const path = resolve(to)
    if (store.backup === undefined)
      throw new StoreError('the store of this pool cannot be copied from here; back it up by its own means')
    if ((await chosenPath(path)) !== undefined)
      throw new ConfigError('path', `${path} exists already; name a new directory`)
    const problems = new Problems()
    try {
      await newCopy(path, async (partial) => {
        // The store first: transcripts only ever grow, so they have at least what the store knows of.
        await store.backup?.(files.storeFileIn(partial))
        await files.copyFiles(partial, problems)
      })
    } catch (error) {
      throw storeError(`the backup ${path} cannot be written`, error)
    }
    emitter.warnOf(`the backup ${path} lacks files`, problems)
    return { leftOut: problems.found }
  }
}
