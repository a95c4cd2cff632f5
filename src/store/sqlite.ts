import { DatabaseSync } from 'node:sqlite'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { StoreError } from '../errors.ts'
import type { SessionPage, SessionRecord, Store } from './store.ts'

/** Each entry brings the schema from the version of its index to the next; only ever append. */
const MIGRATIONS = [
  `CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    uid TEXT NOT NULL,
    agent TEXT NOT NULL,
    cwd TEXT,
    owns_cwd INTEGER NOT NULL,
    sdk_session_id TEXT,
    begun INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX sessions_by_sdk_session_id ON sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;`,
] as const

/** How long a statement waits for another process's lock before it fails. */
const BUSY_TIMEOUT_MS = 5_000

interface SessionRow {
  tenant: string
  key: string
  uid: string
  agent: string
  cwd: string | null
  owns_cwd: number
  sdk_session_id: string | null
  begun: number
  turns: number
  created_at: number
  last_used_at: number
}

const toRecord = (row: SessionRow): SessionRecord => ({
  tenant: row.tenant,
  key: row.key,
  uid: row.uid,
  agent: row.agent,
  cwd: row.cwd ?? undefined,
  ownsCwd: row.owns_cwd === 1,
  sdkSessionId: row.sdk_session_id ?? undefined,
  begun: row.begun === 1,
  turns: row.turns,
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
})

function migrate(database: DatabaseSync, path: string): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > MIGRATIONS.length) {
    throw new StoreError(
      `${path} has schema version ${version}, newer than the ${MIGRATIONS.length} of this release; upgrade claude-agent-pool`,
    )
  }
  for (const [index, step] of MIGRATIONS.entries()) {
    if (index < version) continue
    database.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${index + 1}; COMMIT`)
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
    migrate(database, path)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** The embedded store: one SQLite file, one host at a time. */
export class SqliteStore implements Store {
  readonly #path: string
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** Opens the file, or makes it, and brings its schema up to date. Throws StoreError. */
  constructor(path: string) {
    this.#path = path
    try {
      this.#database = openDatabase(path)
    } catch (error) {
      if (error instanceof StoreError) throw error
      throw new StoreError(`${path} cannot be opened: ${(error as Error).message}`, { cause: error })
    }
  }

  async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    return this.#one('SELECT * FROM sessions WHERE tenant = ? AND key = ?', tenant, key)
  }

  async findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined> {
    return this.#one('SELECT * FROM sessions WHERE sdk_session_id = ?', sdkSessionId)
  }

  async put(record: SessionRecord): Promise<void> {
    this.#run(
      `INSERT OR REPLACE INTO sessions
       (tenant, key, uid, agent, cwd, owns_cwd, sdk_session_id, begun, turns, created_at, last_used_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      record.tenant,
      record.key,
      record.uid,
      record.agent,
      record.cwd ?? null,
      record.ownsCwd ? 1 : 0,
      record.sdkSessionId ?? null,
      record.begun ? 1 : 0,
      record.turns,
      record.createdAt,
      record.lastUsedAt,
    )
  }

  async touch({ tenant, key, uid, turns, lastUsedAt }: Parameters<Store['touch']>[0]): Promise<void> {
    this.#run(
      'UPDATE sessions SET turns = ?, last_used_at = ? WHERE tenant = ? AND key = ? AND uid = ?',
      turns,
      lastUsedAt,
      tenant,
      key,
      uid,
    )
  }

  async remove(tenant: string, key: string): Promise<void> {
    this.#run('DELETE FROM sessions WHERE tenant = ? AND key = ?', tenant, key)
  }

  async list({ tenant, after, limit }: SessionPage): Promise<SessionRecord[]> {
    const conditions: string[] = []
    const values: SQLInputValue[] = []
    if (tenant !== undefined) {
      conditions.push('tenant = ?')
      values.push(tenant)
    }
    if (after !== undefined) {
      conditions.push('(tenant, key) > (?, ?)')
      values.push(after.tenant, after.key)
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
    const rows = this.#guard(() =>
      this.#prepare(`SELECT * FROM sessions ${where} ORDER BY tenant, key LIMIT ?`).all(...values, limit),
    )
    return (rows as unknown as SessionRow[]).map(toRecord)
  }

  async count(): Promise<number> {
    const row = this.#guard(() => this.#prepare('SELECT count(*) AS sessions FROM sessions').get())
    return (row as { sessions: number }).sessions
  }

  async close(): Promise<void> {
    if (!this.#database.isOpen) return
    this.#statements.clear()
    this.#guard(() => this.#database.close())
  }

  #one(sql: string, ...values: SQLInputValue[]): SessionRecord | undefined {
    const row = this.#guard(() => this.#prepare(sql).get(...values))
    return row === undefined ? undefined : toRecord(row as unknown as SessionRow)
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#guard(() => this.#prepare(sql).run(...values))
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
      throw new StoreError(`${this.#path}: ${(error as Error).message}`, { cause: error })
    }
  }
}
