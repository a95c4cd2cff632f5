import { existsSync, statSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { DatabaseSync, backup } from '../sqlite.ts'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { systemClock } from '../clock.ts'
import type { CancelTimer } from '../clock.ts'
import { storeError } from '../errors.ts'
import { makePrivateFile } from '../private-file.ts'
import { DiskSync } from './disk-sync.ts'
import { migrate } from './sqlite-schema.ts'
import { unwritable } from './unwritable.ts'

/** How long a statement waits for another process's lock before it fails. */
const BUSY_TIMEOUT_MS = 5_000

/** After so many transactions the log is copied into the database, this much later: a commit that did it would keep its caller waiting. */
const CHECKPOINT_AFTER = 250
const CHECKPOINT_LAG_MS = 100

/** A log of so many pages (32 MiB) is copied by the commit that makes it so long. */
const LONGEST_LOG_PAGES = 8_000

/** What the log file keeps on disk after it was copied into the database. */
const LOG_SIZE_BYTES = 64 * 1024 * 1024

/** So many transactions may follow upon one another before the event loop has its turn: some 20 ms of work. */
const MAX_IN_A_ROW = 1_000

/** Of a backup, between two rounds of the event loop: some 10 ms of work. */
const PAGES_AT_ONCE = 1_000

interface Write {
  work: () => unknown
  isOneStatement: boolean
  resolve: (answer: unknown) => void
  reject: (error: Error) => void
}

/** Databases without a file. */
const MEMORY = ':memory:'

interface Opened {
  database: DatabaseSync
  log: DiskSync | undefined
}

/** How a file is opened. */
export interface OpenOptions {
  /** It is only read, and has the schema of this release. Default `false`. */
  readOnly?: boolean
}

/**
 * Opens a file to read what it holds, and leaves nothing beside it. Where nothing can be written there, on a disk that is full or
 * read-only, it is read as it is: which it may be, unless a host that died has left a log.
 */
export function openToRead(path: string): DatabaseSync {
  const options = { timeout: BUSY_TIMEOUT_MS }
  let database: DatabaseSync | undefined
  try {
    if (!existsSync(path)) throw new Error('there is no such file')
    database = new DatabaseSync(path, options)
    database.exec('PRAGMA query_only = ON')
    database.prepare('SELECT count(*) FROM sqlite_schema').get()
    return database
  } catch (error) {
    database?.close()
    const logged = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
    if (logged || !existsSync(path)) throw error
    const url = pathToFileURL(path)
    url.searchParams.set('immutable', '1')
    return new DatabaseSync(url, { ...options, readOnly: true })
  }
}

function open(path: string, { readOnly = false }: OpenOptions): Opened {
  if (readOnly) return { database: openToRead(path), log: undefined }
  if (path !== MEMORY) makePrivateFile(path)
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  try {
    const { journal_mode: mode } = database.prepare('PRAGMA journal_mode = WAL').get() ?? {}
    const logged = mode === 'wal'
    // With a log SQLite itself goes to the disk for checkpoints alone: a commit's trip is made beside the event loop.
    database.exec(
      `PRAGMA synchronous = ${logged ? 'NORMAL' : 'FULL'}; PRAGMA secure_delete = ON;
       PRAGMA journal_size_limit = ${LOG_SIZE_BYTES};
       PRAGMA wal_autocheckpoint = ${LONGEST_LOG_PAGES}`,
    )
    migrate(database, path)
    return { database, log: logged ? new DiskSync(`${path}-wal`) : undefined }
  } catch (error) {
    database.close()
    throw error
  }
}

/** A SQLite file: writes that come together are one transaction, which goes to the disk beside the event loop. */
export class SqliteDatabase {
  readonly #path: string
  readonly #database: DatabaseSync
  readonly #log: DiskSync | undefined
  readonly #statements = new Map<string, StatementSync>()
  readonly #onUndone: () => void
  #group: Write[] = []
  #inARow = 0
  #sinceCheckpoint = 0
  #checkpointDue: CancelTimer | undefined

  /** Opens the file, or makes it, and brings its schema up to date. `onUndone`: writes were undone after they had run. Throws StoreError. */
  constructor(path: string, onUndone: () => void, options: OpenOptions = {}) {
    this.#onUndone = onUndone
    this.#path = path
    try {
      const { database, log } = open(path, options)
      this.#database = database
      this.#log = log
    } catch (error) {
      throw storeError(`${path} cannot be opened`, unwritable(path) ?? error)
    }
  }

  one<Row>(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#guard(() => this.#prepare(sql).get(...values)) as Row | undefined
  }

  all<Row>(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values)) as Row[]
  }

  /** Reads row by row, for as long as `take` wants another. */
  some<Row>(take: (row: Row) => boolean, sql: string, ...values: SQLInputValue[]): void {
    this.#guard(() => {
      for (const row of this.#prepare(sql).iterate(...values)) if (!take(row as Row)) return
    })
  }

  /** How many rows that has changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    try {
      return Number(this.#prepare(sql).run(...values).changes)
    } catch (error) {
      throw storeError(this.#path, error)
    }
  }

  /** Does the work as a whole or not at all; resolves with its answer when it survives this process. Rejects with what it throws. */
  write<T>(work: () => T, { isOneStatement = false }: { isOneStatement?: boolean } = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#group.push({ work, isOneStatement, resolve: resolve as Write['resolve'], reject })
      if (this.#group.length === 1) this.#schedule()
    })
  }

  /** Resolves when all that was written before is on the disk. Rejects with StoreError. */
  async flush(): Promise<void> {
    try {
      await this.#log?.flush()
    } catch (error) {
      throw storeError(this.#path, error)
    }
  }

  /** Copies what is committed now into a new file, a few pages at a time. */
  async backup(path: string): Promise<void> {
    this.#commitGroup()
    try {
      makePrivateFile(path)
      await backup(this.#database, path, { rate: PAGES_AT_ONCE })
    } catch (error) {
      throw storeError(`${path} cannot be written`, error)
    }
  }

  async close(): Promise<void> {
    this.#commitGroup()
    if (!this.#database.isOpen) return
    this.#checkpointDue?.()
    this.#statements.clear()
    this.#guard(() => this.#database.close())
    await this.#log?.close()
  }

  #schedule(): void {
    this.#inARow = (this.#inARow + 1) % MAX_IN_A_ROW
    if (this.#inARow === 0) setImmediate(this.#commitGroup)
    else process.nextTick(this.#commitGroup)
  }

  readonly #commitGroup = (): void => {
    const group = this.#group
    this.#group = []
    if (group.length === 0 || this.#commit(group) === undefined) return
    // One of them failed, and the others must not suffer for it.
    for (const write of group) this.#commitAlone(write)
  }

  #commitAlone(write: Write): void {
    const error = this.#commit([write])
    if (error !== undefined) write.reject(error)
  }

  /** One transaction; the error that undid it. */
  #commit(group: readonly Write[]): Error | undefined {
    // A statement is a transaction by itself.
    const needed = group.length > 1 || group[0]?.isOneStatement === false
    let answers: unknown[]
    try {
      if (needed) this.run('BEGIN IMMEDIATE')
      answers = group.map(({ work }) => work())
      if (needed) this.run('COMMIT')
    } catch (error) {
      this.#rollback()
      this.#onUndone()
      return error as Error
    }
    this.#noteWritten()
    for (const [index, { resolve }] of group.entries()) resolve(answers[index])
    return undefined
  }

  #noteWritten(): void {
    this.#log?.written()
    this.#sinceCheckpoint += 1
    if (this.#sinceCheckpoint >= CHECKPOINT_AFTER)
      this.#checkpointDue ??= systemClock.after(CHECKPOINT_LAG_MS, () => this.#checkpoint())
  }

  #checkpoint(): void {
    this.#checkpointDue = undefined
    this.#sinceCheckpoint = 0
    try {
      this.run('PRAGMA wal_checkpoint(PASSIVE)')
    } catch {
      // The log still has it all. Writers are told what is wrong with the disk.
    }
  }

  #rollback(): void {
    try {
      if (this.#database.isTransaction) this.run('ROLLBACK')
    } catch {
      // SQLite has undone it by itself, as it does when the disk is full; or the file is closed.
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #guard<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw storeError(this.#path, error)
    }
  }
}
