import { existsSync, renameSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SQLInputValue } from 'node:sqlite'
import { StoreError, storeError } from '../../errors.ts'
import { DatabaseSync, backup } from '../../sqlite.ts'
import { API_FILE } from '../data-dir.ts'
import type { DataDir } from '../data-dir.ts'
import { isLarge, pack, unpack } from '../packed-json.ts'
import { isOutdated } from '../reading.ts'
import { openToRead } from '../sqlite-database.ts'
import { SqliteStore } from '../sqlite.ts'
import type { CopyPage, CopyProgress, CopySource, CopyTarget, Cursor } from './copy.ts'
import { PAGE_BYTES, PAGE_ROWS, TABLES } from './tables.ts'
import type { CopyTable, Row, Value } from './tables.ts'

/** A file that is not the host's yet. */
const UNFINISHED = '.copying'

type Files = Record<'pool' | 'api', DatabaseSync | undefined>

/** The tables of two files. */
class SqliteTables {
  readonly shown: string
  protected readonly files: Files

  constructor(shown: string, files: Files) {
    this.shown = shown
    this.files = files
  }

  async read(table: CopyTable, after: Cursor | undefined): Promise<CopyPage> {
    const { file, from, values = {}, cursor } = table.sqlite
    const database = this.files[file]
    if (database === undefined || !hasTable(database, from)) return { rows: [], next: undefined }
    const isOfEvents = table.name === 'events'
    const columns = table.columns.map(({ name }) => `${values[name] ?? name} AS "${name}"`)
    const more = [...cursor.map((column, place) => `${column} AS cursor_${place}`), ...(isOfEvents ? PACKED : [])]
    const beyond = after === undefined ? '' : `WHERE (${cursor.join()}) > (${cursor.map(() => '?').join()})`
    const rows: Record<string, Value>[] = []
    let size = 0
    try {
      const found = database
        .prepare(
          `SELECT ${[...columns, ...more].join()} FROM ${from} ${beyond} ORDER BY ${cursor.join()} LIMIT ${PAGE_ROWS}`,
        )
        .iterate(...((after ?? []) as SQLInputValue[]))
      for (const row of found as Iterable<Record<string, Value>>) {
        rows.push(row)
        size += Number(row['bytes'] ?? 0) + String(row[table.large ?? ''] ?? '').length
        if (size >= PAGE_BYTES) break
      }
    } catch (error) {
      throw storeError(this.shown, error)
    }
    const whole = isOfEvents ? ((await unpack(rows as never)) as unknown as Record<string, Value>[]) : rows
    const last = rows.at(-1)
    return {
      rows: whole.map((row) => table.columns.map(({ name }) => row[name] ?? null)),
      next: last && cursor.map((_, place) => last[`cursor_${place}`] ?? null),
    }
  }

  protected closeFiles(): void {
    for (const file of Object.values(this.files)) if (file?.isOpen === true) file.close()
  }
}

const PACKED = ['packed', 'bytes']

const hasTable = (database: DatabaseSync, from: string): boolean =>
  database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(from.split(' ')[0] ?? '') !==
  undefined

class SqliteSource extends SqliteTables implements CopySource {
  readonly #release: () => Promise<void>

  constructor(path: string, files: Files, release: () => Promise<void>) {
    super(path, files)
    this.#release = release
  }

  async checkUnused(): Promise<void> {
    // No host runs beside the one that holds the lock of the directory, which is this.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeFiles()
    await this.#release()
  }
}

/** A data directory that this process has taken, to copy from it. The files are not changed. Rejects with StoreError. */
export async function sqliteSource(dataDir: DataDir): Promise<CopySource> {
  const { path, storeFile } = dataDir
  if (!existsSync(storeFile)) throw new StoreError(`${path} has no sessions: there is no ${storeFile}`)
  const api = join(path, API_FILE)
  const files: Files = { pool: undefined, api: undefined }
  // The schema of an earlier release is brought up to date in a copy.
  const folder = isOutdated(storeFile) ? await mkdtemp(join(tmpdir(), 'claude-agent-pool-copy-')) : undefined
  const source = new SqliteSource(path, files, async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  try {
    files.pool = openToRead(folder === undefined ? storeFile : await migrated(storeFile, folder))
    if (existsSync(api)) files.api = openToRead(api)
    return source
  } catch (error) {
    await source[Symbol.asyncDispose]()
    throw storeError(`${path} cannot be read`, error)
  }
}

async function migrated(storeFile: string, folder: string): Promise<string> {
  const copy = join(folder, 'pool.sqlite')
  using database = openToRead(storeFile)
  await backup(database, copy)
  await new SqliteStore(copy).close()
  return copy
}

class SqliteTarget extends SqliteTables implements CopyTarget {
  readonly #dataDir: DataDir
  readonly #makeApi: (path: string) => void

  constructor(dataDir: DataDir, makeApi: (path: string) => void) {
    super(dataDir.path, { pool: undefined, api: undefined })
    this.#dataDir = dataDir
    this.#makeApi = makeApi
  }

  async begin(from: string): Promise<CopyProgress> {
    const { storeFile } = this.#dataDir
    const isThere = existsSync(storeFile + UNFINISHED)
    if (!isThere) this.#checkEmpty()
    try {
      await new SqliteStore(storeFile + UNFINISHED).close()
      // It has its place already if the copy was cut off at its very end.
      const isMoved = isThere && !existsSync(this.#api + UNFINISHED) && existsSync(this.#api)
      if (!isMoved) this.#makeApi(this.#api + UNFINISHED)
      this.files.pool = new DatabaseSync(storeFile + UNFINISHED)
      this.files.api = new DatabaseSync(isMoved ? this.#api : this.#api + UNFINISHED)
      const { pool } = this.files
      pool.exec('CREATE TABLE IF NOT EXISTS copy_progress (note TEXT NOT NULL)')
      const found = pool.prepare('SELECT note FROM copy_progress').get() as { note: string } | undefined
      const progress: CopyProgress = found === undefined ? { from, table: 0 } : (JSON.parse(found.note) as CopyProgress)
      if (progress.from !== from)
        throw new StoreError(
          `${this.shown} has an unfinished copy of ${progress.from}; finish that one, or begin anew with --restart`,
        )
      if (found === undefined) pool.prepare('INSERT INTO copy_progress VALUES (?)').run(JSON.stringify(progress))
      return progress
    } catch (error) {
      throw storeError(this.shown, error)
    }
  }

  async write(table: CopyTable, rows: readonly Row[], { after }: { after: CopyProgress }): Promise<void> {
    const { file, insert } = table.sqlite
    const [pool, database] = [this.files.pool as DatabaseSync, this.files[file] as DatabaseSync]
    const values = table.name === 'events' ? await Promise.all(rows.map(packedRow)) : rows
    try {
      database.exec('BEGIN IMMEDIATE')
      const statement = database.prepare(insert)
      for (const row of values) statement.run(...(row as SQLInputValue[]))
      // Rows of the other file replace themselves when they come again.
      if (database !== pool) database.exec('COMMIT; ')
      pool.prepare('UPDATE copy_progress SET note = ?').run(JSON.stringify(after))
      if (database === pool) database.exec('COMMIT')
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw storeError(this.shown, error)
    }
  }

  async finish(): Promise<void> {
    const { pool, api } = this.files
    const { storeFile } = this.#dataDir
    try {
      api?.close()
      if (existsSync(this.#api + UNFINISHED)) replace(this.#api)
      pool?.exec('DROP TABLE copy_progress')
      pool?.close()
      replace(storeFile)
    } catch (error) {
      throw storeError(this.shown, error)
    }
  }

  /** Removes an unfinished copy. */
  restart(): void {
    for (const path of [this.#dataDir.storeFile, this.#api]) removeFile(path + UNFINISHED)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeFiles()
  }

  get #api(): string {
    return join(this.#dataDir.path, API_FILE)
  }

  #checkEmpty(): void {
    for (const [file, path] of [
      ['pool', this.#dataDir.storeFile],
      ['api', this.#api],
    ] as const) {
      if (!existsSync(path)) continue
      using database = openToRead(path)
      for (const { name, sqlite } of TABLES) {
        const isThere = sqlite.file === file && hasTable(database, sqlite.from)
        if (isThere && database.prepare(`SELECT 1 FROM ${sqlite.from} LIMIT 1`).get() !== undefined)
          throw new StoreError(
            `${this.shown} is not empty: ${path} has ${name}; move that file away, or name another directory`,
          )
      }
    }
  }
}

async function packedRow(row: Row): Promise<(Value | Uint8Array)[]> {
  const json = String(row.at(-1))
  const event = { number: 0, id: '', type: '', at: 0, json }
  if (!isLarge(event)) return [...row, null, null]
  const { packed = null, bytes = null } = await pack(event)
  return [...row.slice(0, -1), '', packed, bytes]
}

function removeFile(path: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(path + end, { force: true })
}

/** The unfinished file takes the place of an empty one. */
function replace(path: string): void {
  removeFile(path)
  renameSync(path + UNFINISHED, path)
}

/**
 * A data directory that this process has taken, to copy into it. `makeApi` makes the file of the server's resources. `restart`: an
 * unfinished copy is removed first.
 */
export function sqliteTarget(
  dataDir: DataDir,
  { restart, makeApi }: { restart: boolean; makeApi: (path: string) => void },
): CopyTarget {
  const target = new SqliteTarget(dataDir, makeApi)
  if (restart) target.restart()
  return target
}
