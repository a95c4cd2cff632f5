import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { ConfigError, SessionBusyError, SessionConflictError, StoreError, storeError } from '../errors.ts'
import type { PoolFiles, SessionRecord, Store, TenantPlaces } from '../store/store.ts'
import { openArchive, readArchive, writeArchive } from './archive.ts'
import type { KeptSessions } from './kept-sessions.ts'
import { existingDirectory } from './session-record.ts'
import type { Transcripts } from './transcripts.ts'

/** How an exported session comes back. */
export interface ImportOptions {
  /** Default: those that it had. */
  tenant?: string
  key?: string
  agent?: string
  /** For a session whose directory the pool does not own. Default: the same as before. */
  cwd?: string
}

export interface UpkeepContext {
  clock: Clock
  store: Store
  files: PoolFiles
  driver: Driver
  sessions: KeptSessions
  transcripts: Transcripts
  places: (tenant: string) => Promise<TenantPlaces>
}

const PAGE = 200

/** How what is kept gets out and in. */
export class Upkeep {
  readonly #context: UpkeepContext

  constructor(context: UpkeepContext) {
    this.#context = context
  }

  /** Removes a tenant: sessions, transcripts, workspaces and directories. */
  async eraseTenant(tenant: string): Promise<void> {
    const { sessions, store, files } = this.#context
    await sessions.closeTenant(tenant, async () => {
      for (;;) {
        const records = await store.list({ tenant, limit: PAGE })
        if (records.length === 0) break
        for (const record of records) await sessions.eraseRecord(record)
      }
      // Copies that a host which died has left.
      for (;;) {
        const copies = await store.leftoverTranscripts({ tenant, limit: PAGE })
        if (copies.length === 0) break
        for (const copy of copies) await store.removeTranscript(copy)
      }
      await store.flush()
      try {
        await files.removeTenant(tenant)
      } catch (error) {
        throw storeError(`the directories of tenant "${tenant}" cannot be removed`, error)
      }
    })
  }

  /** The session as lines of JSON. */
  async *export(
    key: string,
    { tenant = 'default', workspace = true }: { tenant?: string; workspace?: boolean },
  ): AsyncGenerator<string> {
    const { sessions, store, transcripts, clock } = this.#context
    using held = await sessions.holdIdle(tenant, key)
    const { record } = held
    const { turns } = record
    const { cwd, ownsCwd } = record
    const transcript = await transcripts.files(record)
    const source = { record, store, transcript, workspace: workspace && ownsCwd ? cwd : undefined }
    yield* writeArchive(source, clock.wall())
    if (held.busy() || record.turns !== turns)
      throw new SessionBusyError(
        `session "${key}" ran a turn while it was exported; what was written is not whole: export it again`,
      )
  }

  /** Brings an exported session back. */
  async import(lines: AsyncIterable<string>, options: ImportOptions): Promise<SessionRecord> {
    const { sessions, store, driver, transcripts, places } = this.#context
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
    if (from.cwd !== undefined && !from.ownsCwd) record.cwd = await existingDirectory(options.cwd ?? from.cwd)
    else if (options.cwd !== undefined)
      throw new ConfigError('cwd', 'cannot be chosen: the session has a workspace of its own')
    else if (from.ownsCwd) record.cwd = join(workspaces, record.uid)
    const cwd = record.cwd ?? join(workspaces, record.uid)
    const workspace = join(workspaces, record.uid)
    const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId ?? record.uid }
    if (record.ownsCwd) await mkdir(cwd, { recursive: true, mode: 0o700 })
    const { folder, names } = await driver.transcript(place)
    if (names.length > 0)
      throw new SessionConflictError(`there is a transcript of ${sdkSessionId} in ${folder} already`)
    await sessions.adopt(record, async (events) => {
      await readArchive(archive, { transcript: folder, workspace, events })
      await transcripts.reconcile(record)
    })
    return record
  }

  /** Writes a copy of everything into a new directory, which can take the place of the data directory. */
  async backup(to: string): Promise<void> {
    const { store, files } = this.#context
    const path = resolve(to)
    if (store.backup === undefined)
      throw new StoreError('the store of this pool cannot be copied from here; back it up by its own means')
    const partial = `${path}.partial`
    try {
      if ((await stat(path).catch(() => undefined)) !== undefined)
        throw new ConfigError('path', `${path} exists already; name a new directory`)
      await rm(partial, { recursive: true, force: true })
      await mkdir(partial, { recursive: true, mode: 0o700 })
      // The store first: transcripts only ever grow, so they have at least what the store knows of.
      await store.backup(files.storeFileIn(partial))
      await files.copyFiles(partial)
      await rename(partial, path)
    } catch (error) {
      if (error instanceof ConfigError) throw error
      await rm(partial, { recursive: true, force: true }).catch(() => undefined)
      throw storeError(`the backup ${path} cannot be written`, error)
    }
  }
}
