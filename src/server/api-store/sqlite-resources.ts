import type {
  ReadBounds,
  Resource,
  ResourceKind,
  ResourceQuery,
  ResourceStore,
  Rows,
  VersionQuery,
  VersionRow,
} from '../../store/api-store.ts'
import type { Database } from './database.ts'

export const RESOURCES_SCHEMA = `
  CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    created_at INTEGER NOT NULL, archived_at INTEGER, parent TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, tenant, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS resources_by_time ON resources (kind, tenant, created_at, id);
  CREATE INDEX IF NOT EXISTS resources_not_archived ON resources (kind, tenant, created_at, id) WHERE archived_at IS NULL;
  CREATE TABLE IF NOT EXISTS versions (
    kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, tenant, id, version)
  ) STRICT, WITHOUT ROWID;
`

const COLUMNS = 'kind, tenant, id, version, created_at AS createdAt, archived_at AS archivedAt, parent, body'

export class SqliteResources implements ResourceStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  get(kind: ResourceKind, tenant: string, id: string): Promise<Resource | undefined> {
    return this.#database.read(() => {
      const row = this.#database
        .prepare(`SELECT ${COLUMNS} FROM resources WHERE kind = ? AND tenant = ? AND id = ?`)
        .get(kind, tenant, id)
      return row as Resource | undefined
    })
  }

  create(resource: Resource): Promise<void> {
    const { kind, tenant, id, version, createdAt, archivedAt, parent, body } = resource
    return this.#database.write(() => {
      this.#database
        .prepare(
          `INSERT INTO resources (kind, tenant, id, version, created_at, archived_at, parent, body)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(kind, tenant, id, version, createdAt, archivedAt, parent, body)
      this.#keepVersion(resource)
    })
  }

  replace(before: Resource, after: Resource): Promise<boolean> {
    const { kind, tenant, id } = before
    return this.#database.write(() => {
      const { changes } = this.#database
        .prepare(
          `UPDATE resources SET version = ?, archived_at = ?, body = ?
           WHERE kind = ? AND tenant = ? AND id = ? AND version = ? AND body = ?`,
        )
        .run(after.version, after.archivedAt, after.body, kind, tenant, id, before.version, before.body)
      if (Number(changes) === 0) return false
      if (after.version !== before.version) this.#keepVersion(after)
      return true
    })
  }

  #keepVersion({ kind, tenant, id, version, body }: Resource): void {
    if (kind !== 'agent') return
    this.#database
      .prepare('INSERT INTO versions (kind, tenant, id, version, body) VALUES (?, ?, ?, ?, ?)')
      .run(kind, tenant, id, version, body)
  }

  version(kind: ResourceKind, tenant: string, id: string, version: number): Promise<string | undefined> {
    return this.#database.read(() => {
      const row = this.#database
        .prepare('SELECT body FROM versions WHERE kind = ? AND tenant = ? AND id = ? AND version = ?')
        .get(kind, tenant, id, version)
      return row?.['body'] as string | undefined
    })
  }

  versions({ kind, tenant, id, before, ...bounds }: VersionQuery): Promise<Rows<VersionRow>> {
    return this.#database.read(() => {
      const rows = this.#database
        .prepare(
          `SELECT id, version AS createdAt, body FROM versions WHERE kind = ? AND tenant = ? AND id = ? AND version < ?
           ORDER BY version DESC LIMIT ?`,
        )
        .iterate(kind, tenant, id, before, bounds.limit)
      return bounded(rows as unknown as Iterable<VersionRow>, bounds)
    })
  }

  list(query: ResourceQuery): Promise<Rows<Resource>> {
    const { kind, tenant, order, after, includeArchived, parent, from, to, limit, maxSize } = query
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
    return this.#database.read(() => {
      const rows = this.#database
        .prepare(
          `SELECT ${COLUMNS} FROM resources WHERE ${conditions.join(' AND ')}
           ORDER BY created_at ${direction}, id ${direction} LIMIT ?`,
        )
        .iterate(...values, limit)
      return bounded(rows as unknown as Iterable<Resource>, { limit, maxSize })
    })
  }

  tenantsWith(
    kind: ResourceKind,
    { after = '', limit }: { after?: string | undefined; limit: number },
  ): Promise<string[]> {
    return this.#database.read(() => {
      const sql = `SELECT DISTINCT tenant FROM resources WHERE kind = ? AND archived_at IS NULL AND tenant > ? ORDER BY tenant LIMIT ?`
      return this.#database
        .prepare(sql)
        .all(kind, after, limit)
        .map(({ tenant }) => String(tenant))
    })
  }

  count(kind: ResourceKind, tenant: string): Promise<number> {
    const table = kind === 'agent' ? 'versions' : 'resources'
    return this.#database.read(() => {
      const sql = `SELECT count(*) AS count FROM ${table} WHERE kind = ? AND tenant = ?`
      return Number(this.#database.prepare(sql).get(kind, tenant)?.['count'])
    })
  }

  size(tenant: string): Promise<number> {
    return this.#database.read(() => {
      const row = this.#database
        .prepare(
          `SELECT sum(size) AS size FROM (
             SELECT sum(octet_length(body)) AS size FROM resources WHERE kind IN ('agent', 'environment', 'session', 'vault', 'vault_credential', 'webhook_delivery', 'memory_index', 'memory_version', 'memory_mount') AND tenant = ?
             UNION ALL SELECT sum(octet_length(body)) FROM versions WHERE kind = 'agent' AND tenant = ?)`,
        )
        .get(tenant, tenant)
      return Number(row?.['size'] ?? 0)
    })
  }

  remove(kind: ResourceKind, tenant: string, id: string): Promise<void> {
    return this.#database.write(() => {
      this.#database.prepare('DELETE FROM resources WHERE kind = ? AND tenant = ? AND id = ?').run(kind, tenant, id)
      this.#database.prepare('DELETE FROM versions WHERE kind = ? AND tenant = ? AND id = ?').run(kind, tenant, id)
    })
  }
}

/** Takes rows one by one, so that no more bodies are in memory than the bounds allow. */
function bounded<Row extends { body: string }>(rows: Iterable<Row>, { limit, maxSize }: ReadBounds): Rows<Row> {
  const taken: Row[] = []
  let size = 0
  for (const row of rows) {
    taken.push(row)
    size += row.body.length
    if (size >= maxSize) break
  }
  return { rows: taken, more: taken.length === limit || size >= maxSize }
}
