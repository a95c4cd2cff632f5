import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Agents } from '../agents/catalogue.ts'
import type { Driver } from '../driver/driver.ts'
import { ConfigError, SessionConflictError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { checkOptions } from '../options/unknown.ts'
import { existingDirectory } from '../sessions/session-record.ts'
import type { StoredSessions } from '../sessions/stored-sessions.ts'
import type { TranscriptCopies } from '../sessions/transcript-copies.ts'
import type { PoolFiles, SessionRecord, Store } from '../store/store.ts'
import { usageOfStored } from '../store/usage-json.ts'
import type { ArchiveParts, OpenPart } from './archive-part.ts'
import { openArchive, readArchive } from './archive.ts'
import type { OpenArchive } from './archive.ts'

/** How an exported session comes back. */
export interface ImportOptions {
  /** Default: the values of the archive. */
  tenant?: string
  key?: string
  agent?: string
  /**
   * For a session with a directory that the pool did not create. Default: that of its agent. An archive may name any
   * directory, so what it says is not used.
   */
  cwd?: string
}

const IMPORT_OPTIONS: Record<keyof ImportOptions, true> = { tenant: true, key: true, agent: true, cwd: true }

export interface SessionImportContext {
  store: Store
  driver: Driver
  sessions: StoredSessions
  transcripts: TranscriptCopies
  files: PoolFiles
  tenantFiles: TenantFiles
  agents: Agents
  parts: ArchiveParts
}

/** Brings sessions back from lines of JSON. */
export class SessionImport {
  readonly #context: SessionImportContext

  constructor(context: SessionImportContext) {
    this.#context = context
  }

  /** Brings an exported session back. */
  async read(lines: AsyncIterable<string>, options: ImportOptions): Promise<SessionRecord> {
    checkOptions('importSession()', options, IMPORT_OPTIONS)
    const { sessions, store, driver, transcripts, files, tenantFiles } = this.#context
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
      usage: from.usage && usageOfStored(from.usage),
    }
    const parts = this.#partsOf(archive, record)
    record.agent = options.agent ?? parts.at(-1)?.agent ?? from.agent
    const { sdkSessionId } = record
    if (sdkSessionId !== undefined && (await store.findBySdkSessionId(sdkSessionId)) !== undefined) {
      throw new SessionConflictError(
        `the conversation ${sdkSessionId} is here already; delete its session first, or fork it`,
      )
    }
    const { configDir, tmpDir, workspaces } = await files.makePlaces(record.tenant)
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
    await sessions.adopt(record, async (events, ownership) => {
      const transcript = sdkSessionId === undefined ? undefined : { folder, sessionId: sdkSessionId }
      const target = { tenantFiles, transcript, workspace: record.ownsCwd ? workspace : undefined, events }
      await readArchive(archive, target)
      await transcripts.reconcile(record, ownership)
      for (const part of parts) await part.write()
    })
    return record
  }

  #partsOf({ parts }: OpenArchive, session: { tenant: string; key: string }): OpenPart[] {
    return [...this.#context.parts.values()].flatMap((part) => {
      const opened = Object.hasOwn(parts, part.name) ? part.open(parts[part.name], session) : undefined
      return opened === undefined ? [] : [opened]
    })
  }

  /** Where a session runs that had a directory of its caller's. */
  async #directoryFor(agent: string, before: string, { cwd }: ImportOptions): Promise<string> {
    const chosen = cwd ?? this.#context.agents.find(agent)?.options.cwd
    if (chosen !== undefined) return existingDirectory(chosen)
    throw new ConfigError(
      'cwd',
      `must be named: the session ran in ${JSON.stringify(before)}, and an archive does not choose where an agent runs`,
    )
  }
}
