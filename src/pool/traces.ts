import { appendFile, constants, cp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Driver } from '../driver/driver.ts'
import type { SessionRecord, TenantPlaces } from '../store/store.ts'
import type { Transcripts } from './transcripts.ts'

export interface TracesContext {
  driver: Driver
  transcripts: Transcripts
  places: (tenant: string) => Promise<TenantPlaces>
  removeWorkspace: (path: string) => Promise<void>
}

/** What sessions leave on disk beside their record: transcripts, scratch files, and the workspaces that the pool made. */
export class Traces {
  readonly #context: TracesContext

  constructor(context: TracesContext) {
    this.#context = context
  }

  /**
   * Copies a conversation as it is now, and resolves with what the copy's record says of it. A workspace of the pool serves
   * one session and goes with it: the copy gets one of its own, `name`, and a transcript that belongs there.
   */
  async copy(record: SessionRecord, name: string): Promise<Partial<SessionRecord>> {
    const { configDir, tmpDir, workspaces } = await this.#context.places(record.tenant)
    const { cwd = '', ownsCwd, sdkSessionId = '', begun, turns } = record
    const place = ownsCwd ? join(workspaces, name) : cwd
    try {
      if (ownsCwd) await cp(cwd, place, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE })
      const copy = await this.#context.driver.fork({ configDir, tmpDir, cwd, sessionId: sdkSessionId }, place)
      await this.#context.transcripts.reconcile({ tenant: record.tenant, cwd: place, sdkSessionId: copy })
      return { cwd: place, ownsCwd, sdkSessionId: copy, begun, turns }
    } catch (error) {
      if (ownsCwd) await this.#context.removeWorkspace(place)
      throw error
    }
  }

  /** Notes a conversation that its session goes on without: the record knows the newest alone. */
  async leaveBehind({ tenant, uid, sdkSessionId }: SessionRecord): Promise<void> {
    const { earlier } = await this.#context.places(tenant)
    await appendFile(join(earlier, uid), `${sdkSessionId}\n`, { mode: 0o600 })
  }

  /** The SDK's ids of all conversations that a session has had. */
  async conversations({ tenant, uid, sdkSessionId }: SessionRecord): Promise<string[]> {
    const { earlier } = await this.#context.places(tenant)
    const leftBehind = (await readFile(join(earlier, uid), 'utf8').catch(() => ''))
      .split('\n')
      .filter((line) => line !== '')
    return sdkSessionId === undefined ? leftBehind : [...leftBehind, sdkSessionId]
  }

  async remove(record: SessionRecord): Promise<void> {
    const { tenant, uid, cwd, ownsCwd } = record
    if (cwd === undefined) return
    const { configDir, tmpDir, earlier } = await this.#context.places(tenant)
    for (const sessionId of await this.conversations(record)) {
      await this.#context.transcripts.forget(tenant, { configDir, tmpDir, cwd, sessionId })
    }
    await rm(join(earlier, uid), { force: true })
    if (ownsCwd) await this.#context.removeWorkspace(cwd)
  }
}
