import { readdir, rename, rm, stat, mkdir } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { ConfigError, SessionBusyError, SessionConflictError, StoreError, storeError } from '../errors.ts'
import type { Retention } from '../options/retention.ts'
import type { PoolFiles, SessionRecord, Store, TenantPlaces } from '../store/store.ts'
import { openArchive, readArchive, writeArchive } from './archive.ts'
import type { PoolEmitter } from './events.ts'
import type { KeptSessions } from './kept-sessions.ts'
import { dueForRemoval } from './retention.ts'
import type { KeptSession, Removal } from './retention.ts'
import { existingDirectory } from './session-record.ts'
import type { Transcripts } from './transcripts.ts'

/** What a look at what is kept found to remove, and removed unless it was a dry run. */
export interface PruneReport {
  sessions: Removal[]
  /** Events of sessions that stay. */
  events: number
  /** More is due than one look removes; the next goes on. */
  more: boolean
}

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
  emitter: PoolEmitter
  retention: Retention
  sessions: KeptSessions
  transcripts: Transcripts
  places: (tenant: string) => Promise<TenantPlaces>
  removeWorkspace: (path: string) => Promise<void>
  /** Directories and conversations of processes that are there now. */
  inUse: () => { cwd: string; sdkSessionId: string | undefined }[]
}

const PAGE = 200

/** A look removes no more than this: the next one goes on. */
const MAX_REMOVALS = 200

const EVENTS_AT_ONCE = 10_000

/** What is kept, for how long, and how it gets out and in. */
export class Upkeep {
  readonly #context: UpkeepContext
  #nextLookAt: number
  #look: Promise<unknown> | undefined
  #stopped = false

  constructor(context: UpkeepContext) {
    this.#context = context
    this.#nextLookAt = context.clock.now() + context.retention.intervalMs
  }

  /** Called by the housekeeper: looks at what is kept when it is time. */
  tend(): void {
    const { clock, retention, emitter } = this.#context
    if (this.#stopped || this.#look !== undefined || clock.now() < this.#nextLookAt) return
    this.#look = this.prune({ dryRun: false })
      .then(({ more }) => {
        this.#nextLookAt = clock.now() + (more ? 0 : retention.intervalMs)
      })
      .catch((error: unknown) => {
        this.#nextLookAt = clock.now() + retention.intervalMs
        if (!this.#stopped)
          emitter.tell('warning', { message: 'what has outlived its retention was not removed', error })
      })
      .finally(() => {
        this.#look = undefined
      })
  }

  /** Ends the look that is under way, after the session that it is at. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#look
  }

  async prune({ dryRun }: { dryRun: boolean }): Promise<PruneReport> {
    const { clock, retention, sessions, emitter } = this.#context
    const records = await this.#records()
    const kept: KeptSession[] = []
    const sized = this.#wantsSizes()
    for (const record of records) {
      if (this.#stopped) break
      const { tenant, key, agent, uid, lastUsedAt } = record
      const bytes = sized ? await this.#bytesOf(record) : 0
      kept.push({ tenant, key, agent, uid, lastUsedAt, bytes, live: sessions.isLive(record) })
    }
    const rules = {
      ofTenant: (tenant: string) => named(retention.tenants, tenant) ?? retention,
      ofAgent: (agent: string) => named(retention.agents, agent),
    }
    const due = dueForRemoval(kept, rules, clock.wall())
    const removals = due.slice(0, MAX_REMOVALS)
    const removed: Removal[] = []
    for (const removal of removals) {
      if (this.#stopped) break
      // It may have come to life, or been used, since it was looked at.
      if (dryRun || (await sessions.removeUnused(removal))) removed.push(removal)
    }
    for (const removal of dryRun ? [] : removed) emitter.tell('session.expired', removal)
    const gone = new Set(due.map(({ tenant, key }) => `${tenant}\0${key}`))
    let events = 0
    for (const record of records) {
      if (this.#stopped || gone.has(`${record.tenant}\0${record.key}`)) continue
      events += await this.#trim(record, dryRun)
    }
    if (!dryRun) await this.#removeLeftovers(records)
    return { sessions: removed, events, more: due.length > removals.length }
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

  async #records(): Promise<SessionRecord[]> {
    const { store } = this.#context
    const records: SessionRecord[] = []
    for (;;) {
      const after = records.at(-1)
      const page = await store.list({ limit: PAGE, ...(after === undefined ? {} : { after }) })
      records.push(...page)
      if (page.length < PAGE || this.#stopped) return records
    }
  }

  #wantsSizes(): boolean {
    const { retention } = this.#context
    return [retention, ...Object.values(retention.tenants), ...Object.values(retention.agents)].some(
      ({ maxSizeBytes }) => Number.isFinite(maxSizeBytes),
    )
  }

  async #bytesOf({ tenant, uid, cwd, ownsCwd, sdkSessionId }: SessionRecord): Promise<number> {
    const { store, driver, places } = this.#context
    const { size } = await store.eventTotals(uid)
    if (cwd === undefined || sdkSessionId === undefined) return size
    const { configDir, tmpDir } = await places(tenant)
    const { folder, names } = await driver.transcript({ configDir, tmpDir, cwd, sessionId: sdkSessionId })
    const own = ownsCwd ? await readdir(cwd, { recursive: true }).catch(() => []) : []
    const paths = [...names.map((name) => join(folder, name)), ...own.map((name) => join(cwd, name))]
    let bytes = size
    for (const path of paths) {
      const found = await stat(path).catch(() => undefined)
      if (found?.isFile() === true) bytes += found.size
    }
    return bytes
  }

  /** Removes the session's oldest events, as many as its rules say; how many. */
  async #trim({ uid }: SessionRecord, dryRun: boolean): Promise<number> {
    const { store, clock, retention } = this.#context
    const { maxEvents, maxEventAgeMs } = retention
    if (!Number.isFinite(maxEvents) && !Number.isFinite(maxEventAgeMs)) return 0
    const [first] = await store.readEvents(uid, { limit: 1 })
    const [last] = await store.readEvents(uid, { limit: 1, descending: true })
    if (first === undefined || last === undefined) return 0
    let before = Math.max(first.number, last.number - maxEvents + 1)
    const oldest = clock.wall() - maxEventAgeMs
    if (first.at < oldest) before = Math.max(before, await this.#firstSince(uid, oldest, last.number))
    before = Math.min(before, last.number)
    if (before > first.number && !dryRun) await store.trimEvents(uid, before)
    return before - first.number
  }

  /** The number of the first event that is not older, among the oldest 10,000: more go at the next look. */
  async #firstSince(uid: string, oldest: number, last: number): Promise<number> {
    const events = await this.#context.store.readEvents(uid, { limit: EVENTS_AT_ONCE })
    return events.find(({ at }) => at >= oldest)?.number ?? events.at(-1)?.number ?? last
  }

  /** Removes what no session and no process knows. */
  async #removeLeftovers(records: readonly SessionRecord[]): Promise<void> {
    const { clock, retention, places, driver, inUse, removeWorkspace } = this.#context
    if (!Number.isFinite(retention.leftoversMs)) return
    const before = clock.wall() - retention.leftoversMs
    for (const [tenant, ofTenant] of Map.groupBy(records, (record) => record.tenant)) {
      const { configDir, tmpDir, workspaces, earlier } = await places(tenant)
      const users = [...ofTenant, ...inUse()]
      const directories = new Set(users.flatMap(({ cwd }) => (cwd === undefined ? [] : [basename(cwd)])))
      for (const name of await readdir(workspaces)) {
        const path = join(workspaces, name)
        const found = await stat(path).catch(() => undefined)
        if (directories.has(name) || found === undefined || found.mtimeMs >= before || this.#stopped) continue
        await removeWorkspace(path)
      }
      const known = new Set(users.flatMap(({ sdkSessionId }) => sdkSessionId ?? []))
      for (const uid of await readdir(earlier)) {
        if (ofTenant.every((record) => record.uid !== uid)) await rm(join(earlier, uid), { force: true })
      }
      await driver.forgetUnknown({ configDir, tmpDir }, known, before)
    }
  }
}

const named = <T>(rules: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(rules, name) ? rules[name] : undefined
