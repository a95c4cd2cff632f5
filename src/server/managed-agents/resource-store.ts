import { DatabaseSync } from '../../sqlite.ts'
import type { StatementSync } from 'node:sqlite'
import { StoreError } from '../../errors.ts'
import { makePrivateFile } from '../../private-file.ts'

export type ResourceKind = 'agent' | 'environment' | 'session'

/** One resource of the API, in its newest version. Times are milliseconds since the epoch. */
export interface Resource {
  kind: ResourceKind
  tenant: string
  id: string
  version: number
  createdAt: number
  archivedAt: number | null
  /** The resource that it was made from, for lists: a session's agent. */
  parent: string | null
  /** JSON; its shape is its kind's. */
  body: string
}

/** Which resources a list asks for, and from where on. */
export interface ResourceQuery {
  kind: ResourceKind
  tenant: string
  order: 'asc' | 'desc'
  /** Begins behind this one. */
  after?: { createdAt: number; id: string } | undefined
  limit: number
  includeArchived?: boolean
  parent?: string | undefined
  /** Bounds of `createdAt`, both included. */
  from?: number | undefined
  to?: number | undefined
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    created_at INTEGER NOT NULL, archived_at INTEGER, parent TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, tenant, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS resources_by_time ON resources (kind, tenant, created_at, id);
  CREATE TABLE IF NOT EXISTS versions (
    kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, tenant, id, version)
  ) STRICT, WITHOUT ROWID;
`

/** The schema above. A file of a newer release is refused. */
const SCHEMA_VERSION = 1

/** A version of a resource. Its place in the list of versions is its number. */
export interface VersionRow {
  id: string
  createdAt: number
  body: string
}

/**
 * Where the API's resources are kept: agents with all their versions, environments, and what the API knows of a session
 * beside the pool. One SQLite file with one owner, the host of the data directory.
 */
export class ResourceStore {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** `:memory:` keeps everything until `close()`. Throws when the file cannot be used. */
  constructor(path: string) {
    if (path !== ':memory:') makePrivateFile(path)
    this.#database = new DatabaseSync(path)
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    const version = Number(Object.values(this.#database.prepare('PRAGMA user_version').get() ?? {})[0])
    if (version > SCHEMA_VERSION) {
      this.#database.close()
      throw new StoreError(
        `${path} was written by a newer release (schema ${version}, this one reads ${SCHEMA_VERSION}); run that release`,
      )
    }
    this.#database.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}`)
  }

  get(kind: ResourceKind, tenant: string, id: string): Resource | undefined {
    const row = this.#prepare(
      `SELECT kind, tenant, id, version, created_at AS createdAt, archived_at AS archivedAt, parent, body
       FROM resources WHERE kind = ? AND tenant = ? AND id = ?`,
    ).get(kind, tenant, id)
    return row as Resource | undefined
  }

  /** Writes a resource whole, as its newest version. */
  put({ kind, tenant, id, version, createdAt, archivedAt, parent, body }: Resource): void {
    this.#prepare(
      `INSERT INTO resources (kind, tenant, id, version, created_at, archived_at, parent, body)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET version = excluded.version, archived_at = excluded.archived_at, body = excluded.body`,
    ).run(kind, tenant, id, version, createdAt, archivedAt, parent, body)
  }

  /** Writes a resource and keeps this version of it for ever. */
  putVersion(resource: Resource): void {
    this.#transaction(() => {
      this.put(resource)
      const { kind, tenant, id, version, body } = resource
      this.#prepare('INSERT OR REPLACE INTO versions (kind, tenant, id, version, body) VALUES (?, ?, ?, ?, ?)').run(
        kind,
        tenant,
        id,
        version,
        body,
      )
    })
  }

  version(kind: ResourceKind, tenant: string, id: string, version: number): string | undefined {
    const row = this.#prepare('SELECT body FROM versions WHERE kind = ? AND tenant = ? AND id = ? AND version = ?').get(
      kind,
      tenant,
      id,
      version,
    )
    return row?.['body'] as string | undefined
  }

  /** Newest first, those before `before`; each read when it is taken. */
  versions(kind: ResourceKind, tenant: string, id: string, before: number, limit: number): Iterable<VersionRow> {
    const rows = this.#prepare(
      `SELECT id, version AS createdAt, body FROM versions WHERE kind = ? AND tenant = ? AND id = ? AND version < ?
       ORDER BY version DESC LIMIT ?`,
    ).iterate(kind, tenant, id, before, limit)
    return rows as unknown as Iterable<VersionRow>
  }

  /** Each is read when it is taken. */
  list({ kind, tenant, order, after, limit, includeArchived, parent, from, to }: ResourceQuery): Iterable<Resource> {
    const [direction, beyond] = order === 'asc' ? ['ASC', '>'] : ['DESC', '<']
    const conditions = ['kind = ?', 'tenant = ?']
    const values: (string | number)[] = [kind, tenant]
    const add = (condition: string, ...more: (string | number)[]): void => {
      conditions.push(condition)
      values.push(...more)
    }
    if (after !== undefined) add(`(created_at, id) ${beyond} (?, ?)`, after.createdAt, after.id)
    if (includeArchived !== true) add('archived_at IS NULL')
    if (parent !== undefined) add('parent = ?', parent)
    if (from !== undefined) add('created_at >= ?', from)
    if (to !== undefined) add('created_at <= ?', to)
    const rows = this.#prepare(
      `SELECT kind, tenant, id, version, created_at AS createdAt, archived_at AS archivedAt, parent, body
       FROM resources WHERE ${conditions.join(' AND ')} ORDER BY created_at ${direction}, id ${direction} LIMIT ?`,
    ).iterate(...values, limit)
    return rows as unknown as Iterable<Resource>
  }

  /** How many a tenant has; of agents, with all their versions. */
  count(kind: ResourceKind, tenant: string): number {
    const table = kind === 'agent' ? 'versions' : 'resources'
    const row = this.#prepare(`SELECT count(*) AS count FROM ${table} WHERE kind = ? AND tenant = ?`).get(kind, tenant)
    return Number(row?.['count'])
  }

  /** Bytes of all that a tenant has. */
  size(tenant: string): number {
    const row = this.#prepare(
      `SELECT sum(size) AS size FROM (
         SELECT sum(octet_length(body)) AS size FROM resources WHERE kind IN ('agent', 'environment', 'session') AND tenant = ?1
         UNION ALL SELECT sum(octet_length(body)) FROM versions WHERE kind = 'agent' AND tenant = ?1)`,
    ).get(tenant)
    return Number(row?.['size'] ?? 0)
  }

  remove(kind: ResourceKind, tenant: string, id: string): void {
    this.#transaction(() => {
      this.#prepare('DELETE FROM resources WHERE kind = ? AND tenant = ? AND id = ?').run(kind, tenant, id)
      this.#prepare('DELETE FROM versions WHERE kind = ? AND tenant = ? AND id = ?').run(kind, tenant, id)
    })
  }

  close(): void {
    this.#database.close()
  }

  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }

  /** There are a few dozen texts at most: the combinations of a list's conditions. */
  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#database.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }
}
