import { dirname, join } from 'node:path'
import type { Driver } from '../driver/driver.ts'
import { FilesError } from '../errors.ts'
import type { FileProblemReason } from '../errors.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Places, SessionOwnership, SessionRecord } from '../store/store.ts'
import type { PoolEmitter } from '../events.ts'
import type { TranscriptCopies } from './transcript-copies.ts'

export interface SessionFilesContext {
  driver: Driver
  transcripts: TranscriptCopies
  places: Places
  tenantFiles: TenantFiles
  emitter: PoolEmitter
}

/** Of the file that names the conversations which a session has left behind. */
const MAX_NOTE_BYTES = 2 ** 20

/** An agent has put something else in the place of the note. What it named is found as a leftover. */
const REPLACED: ReadonlySet<FileProblemReason> = new Set(['link', 'special', 'kind', 'too_large'])

function unlessReplaced(error: unknown): undefined {
  if (error instanceof FilesError && error.problems.every(({ reason }) => REPLACED.has(reason))) return undefined
  throw error
}

/** Of a file that the host puts into a workspace. */
const PUT_MODE = 0o644

/** A file of a workspace. */
export interface WorkspaceFile {
  /** From the folder on that was asked for, with `/`. */
  path: string
  /** Bytes. */
  size: number
  /** When it was last written, in milliseconds since the epoch. */
  modifiedAt: number
}

/** Files and folders that a list looks at: an agent may make any number. */
const MOST_LOOKED_AT = 10_000

const ZEROS = Buffer.alloc(64 * 1024)

function* zeros(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= ZEROS.length) yield left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS
}

const CONVERSATION_ID = /^[\w-]{1,100}$/

/** True for a session whose workspace another host has made: it is there, and not here. */
export function isElsewhere(
  { tenant, cwd, ownsCwd }: Pick<SessionRecord, 'tenant' | 'cwd' | 'ownsCwd'>,
  places: Pick<Places, 'placesOf'>,
): boolean {
  return ownsCwd && cwd !== undefined && dirname(cwd) !== places.placesOf(tenant).workspaces
}

/** What sessions leave on disk beside their record: transcripts, scratch files, and the workspaces that the pool made. */
export class SessionFiles {
  readonly #context: SessionFilesContext

  constructor(context: SessionFilesContext) {
    this.#context = context
  }

  /** Puts a file into a workspace, in the place of what is there. Throws FilesError, and what the source throws; nothing is left then. */
  async put(workspace: string, path: string, pieces: AsyncIterable<Buffer>): Promise<void> {
    const { tenantFiles } = this.#context
    const at = join(workspace, path)
    await tenantFiles.erase(at)
    const file = await tenantFiles.create(at)
    try {
      for await (const piece of pieces) await file.write(piece)
      await file.close(PUT_MODE)
    } catch (error) {
      file.drop()
      await tenantFiles.erase(at).catch(() => undefined)
      throw error
    }
  }

  async makeFolder(workspace: string, path: string): Promise<void> {
    await this.#context.tenantFiles.makeFolder(join(workspace, path))
  }

  /** The workspace of a session, if the pool has made it. Throws FilesError if another host has it. */
  workspaceOf(record: SessionRecord): Promise<string | undefined> {
    const { cwd = '', ownsCwd, key } = record
    if (isElsewhere(record, this.#context.places))
      throw new FilesError('files_failed', `the files of session "${key}" are at the host that ran it last`, [])
    return Promise.resolve(ownsCwd && cwd !== '' ? cwd : undefined)
  }

  /** Files in a folder of a workspace. What cannot be entered is left out. */
  async list(workspace: string, folder: string, limit: number): Promise<WorkspaceFile[]> {
    const found = await this.#context.tenantFiles.files(join(workspace, folder), new Problems(), MOST_LOOKED_AT)
    return found.toSorted((a, b) => b.modifiedAt - a.modifiedAt || (a.path < b.path ? -1 : 1)).slice(0, limit)
  }

  /** The content of a file. Throws FilesError for what cannot be read. */
  async *read(workspace: string, path: string): AsyncGenerator<Buffer> {
    const problems = new Problems()
    for await (const piece of this.#context.tenantFiles.contents(join(workspace, path), problems, { only: 'file' })) {
      if (piece.kind === 'file') yield piece.data
      else if (piece.kind === 'hole') yield* zeros(piece.bytes)
    }
    const problem = problems.error('files_failed', 'a file could not be read')
    if (problem !== undefined) throw problem
  }

  /** Removes what is there. Throws FilesError for what stays. */
  async take(workspace: string, path: string): Promise<void> {
    await this.#context.tenantFiles.erase(join(workspace, path))
  }

  /**
   * Copies a conversation as it is now, and resolves with what the copy's record says of it. A workspace of the pool serves
   * one session and goes with it: the copy gets one of its own, `name`, and a transcript that belongs there.
   */
  async copy(record: SessionRecord, name: string): Promise<Partial<SessionRecord>> {
    const { configDir, tmpDir, workspaces } = await this.#context.places.makePlaces(record.tenant)
    const { cwd = '', ownsCwd, sdkSessionId = '', begun, turns } = record
    const place = ownsCwd ? join(workspaces, name) : cwd
    try {
      if (ownsCwd) await this.#copyWorkspace(record, place)
      const copy = await this.#context.driver.fork({ configDir, tmpDir, cwd, sessionId: sdkSessionId }, place)
      await this.#context.transcripts.reconcile({ tenant: record.tenant, cwd: place, sdkSessionId: copy }, undefined)
      return { cwd: place, ownsCwd, sdkSessionId: copy, begun, turns }
    } catch (error) {
      // What stays of it is found as a leftover.
      if (ownsCwd) await this.#context.tenantFiles.remove(place, new Problems())
      throw error
    }
  }

  async #copyWorkspace({ key, cwd = '' }: SessionRecord, place: string): Promise<void> {
    const problems = new Problems()
    await this.#context.tenantFiles.copy(cwd, place, problems)
    this.#context.emitter.warnOf(`the fork of session "${key}" lacks files of its workspace`, problems)
  }

  /** Notes a conversation that its session goes on without: the record knows the newest alone. */
  async leaveBehind({ tenant, uid, sdkSessionId }: SessionRecord): Promise<void> {
    const { earlier } = await this.#context.places.makePlaces(tenant)
    await this.#context.tenantFiles.append(join(earlier, uid), `${sdkSessionId}\n`)
  }

  /** The SDK's ids of all conversations that a session has had. */
  async conversations({ tenant, uid, sdkSessionId }: SessionRecord): Promise<string[]> {
    const { earlier } = this.#context.places.placesOf(tenant)
    const text = await this.#context.tenantFiles.text(join(earlier, uid), MAX_NOTE_BYTES).catch(unlessReplaced)
    const leftBehind = (text ?? '').split('\n').filter((line) => CONVERSATION_ID.test(line))
    return sdkSessionId === undefined ? leftBehind : [...leftBehind, sdkSessionId]
  }

  /** Removes all that it left. `ownership`: undefined if the store does not know it. Throws FilesError for what stays, when all else is gone. */
  async remove(record: SessionRecord, ownership: SessionOwnership | undefined): Promise<void> {
    const { tenant, key, uid, cwd, ownsCwd } = record
    if (cwd === undefined) return
    const { transcripts, tenantFiles, places } = this.#context
    const { configDir, tmpDir, earlier } = places.placesOf(tenant)
    const problems = new Problems()
    const conversations = await this.conversations(record).catch((error: unknown) => {
      problems.take(error)
      return record.sdkSessionId === undefined ? [] : [record.sdkSessionId]
    })
    for (const sessionId of conversations) {
      const place = { configDir, tmpDir, cwd, sessionId }
      await transcripts.forget(tenant, place, ownership).catch((error: unknown) => problems.take(error))
    }
    // That of another host is there: it finds that no session has it.
    if (ownsCwd && !isElsewhere(record, places)) await tenantFiles.remove(cwd, problems)
    // The names of the conversations go last: while one of them is there, they are needed.
    if (problems.count === 0) await tenantFiles.remove(join(earlier, uid), problems)
    const left = problems.error('files_left', `files of session "${key}" could not be removed; delete it again`)
    if (left instanceof FilesError) throw left
  }
}
