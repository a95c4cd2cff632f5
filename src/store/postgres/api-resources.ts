import { StoreError } from '../../errors.ts'
import type {
  ReadBounds,
  Resource,
  ResourceKind,
  ResourceQuery,
  ResourceStore,
  Rows,
  VersionQuery,
  VersionRow,
} from '../api-store.ts'
import type { Connections } from './connections.ts'
import { LONG_QUERY_MS } from './connections.ts'
import { escape, unescape } from './text.ts'

const COLUMNS = 'kind, tenant, id, version, created_at AS "createdAt", archived_at AS "archivedAt", parent, body'

const CREATE = `
WITH made AS (
  INSERT INTO pool.resources (kind, tenant, id, version, created_at, archived_at, parent, body)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING kind, tenant, id, version, body),
kept AS (INSERT INTO pool.resource_versions SELECT * FROM made WHERE kind = 'agent')
SELECT 1 FROM made`

const REPLACE = `
WITH changed AS (
  UPDATE pool.resources SET version = $4, archived_at = $5, body = $6
  WHERE kind = $1 AND tenant = $2 AND id = $3 AND version = $7 AND body = $8 RETURNING kind, tenant, id, version, body),
kept AS (INSERT INTO pool.resource_versions SELECT * FROM changed WHERE kind = 'agent' AND version <> $7)
SELECT 1 FROM changed`

const REMOVE = `
WITH versions AS (DELETE FROM pool.resource_versions WHERE kind = $1 AND tenant = $2 AND id = $3)
DELETE FROM pool.resources WHERE kind = $1 AND tenant = $2 AND id = $3`

type Name = Pick<Resource, 'kind' | 'tenant' | 'id'>

const nameOf = ({ kind, tenant, id }: Name): [string, string, string] => [kind, tenant, escape(id)]

/** Resources of `/v1` for all hosts. A change holds if the resource is as its host has read it. */
export class PostgresResources implements ResourceStore {
  readonly #connections: Connections

  constructor(connections: Connections) {
    this.#connections = connections
  }

  async get(kind: ResourceKind, tenant: string, id: string): Promise<Resource | undefined> {
    const [row] = await this.#connections.read<Resource>({
      name: 'resource',
      text: `SELECT ${COLUMNS} FROM pool.resources WHERE kind = $1 AND tenant = $2 AND id = $3`,
      values: nameOf({ kind, tenant, id }),
    })
    return row === undefined ? undefined : toResource(row)
  }

  async create(resource: Resource): Promise<void> {
    const { version, createdAt, archivedAt, parent, body } = resource
    const from = parent === null ? null : escape(parent)
    const values = [...nameOf(resource), version, createdAt, archivedAt, from, body]
    const isDone = await this.#write({ name: 'create resource', text: CREATE, values }, resource)
    if (!isDone) throw new StoreError(`${resource.kind} ${resource.id} is in the store already`)
  }

  replace(before: Resource, after: Resource): Promise<boolean> {
    const values = [...nameOf(before), after.version, after.archivedAt, after.body, before.version, before.body]
    return this.#write({ name: 'replace resource', text: REPLACE, values }, after)
  }

  async version(kind: ResourceKind, tenant: string, id: string, version: number): Promise<string | undefined> {
    const [row] = await this.#connections.read<{ body: string }>({
      text: 'SELECT body FROM pool.resource_versions WHERE kind = $1 AND tenant = $2 AND id = $3 AND version = $4',
      values: [...nameOf({ kind, tenant, id }), version],
    })
    return row?.body
  }

  async versions({ before, ...query }: VersionQuery): Promise<Rows<VersionRow>> {
    const found = await this.#page<VersionRow>(query, {
      select: 'id, version AS "createdAt", body',
      from: 'pool.resource_versions WHERE kind = $1 AND tenant = $2 AND id = $3 AND version < $4',
      order: 'version DESC',
      values: [...nameOf(query), before],
    })
    return { ...found, rows: found.rows.map((row) => ({ ...row, id: unescape(row.id) })) }
  }

  async list(query: ResourceQuery): Promise<Rows<Resource>> {
    const { kind, tenant, order, after, includeArchived, parent, from, to } = query
    const [direction, beyond] = order === 'asc' ? ['ASC', '>'] : ['DESC', '<']
    const values: unknown[] = []
    const value = (given: unknown): string => `$${values.push(given)}`
    const conditions = [`kind = ${value(kind)}`, `tenant = ${value(tenant)}`]
    if (after !== undefined)
      conditions.push(`(created_at, id) ${beyond} (${value(after.createdAt)}, ${value(escape(after.id))})`)
    if (includeArchived !== true) conditions.push('archived_at IS NULL')
    if (parent !== undefined) conditions.push(`parent = ${value(escape(parent))}`)
    if (from !== undefined) conditions.push(`created_at >= ${value(from)}`)
    if (to !== undefined) conditions.push(`created_at <= ${value(to)}`)
    const found = await this.#page<Resource>(query, {
      select: COLUMNS,
      from: `pool.resources WHERE ${conditions.join(' AND ')}`,
      order: `created_at ${direction}, id ${direction}`,
      values,
    })
    return { ...found, rows: found.rows.map(toResource) }
  }

  async tenantsWith(
    kind: ResourceKind,
    { after = '', limit }: { after?: string | undefined; limit: number },
  ): Promise<string[]> {
    const rows = await this.#connections.read<{ tenant: string }>({
      text: `SELECT DISTINCT tenant FROM pool.resources
        WHERE kind = $1 AND archived_at IS NULL AND tenant > $2 ORDER BY tenant LIMIT $3`,
      values: [kind, after, limit],
      timeoutMs: LONG_QUERY_MS,
    })
    return rows.map(({ tenant }) => tenant)
  }

  async count(kind: ResourceKind, tenant: string): Promise<number> {
    const table = kind === 'agent' ? 'resource_versions' : 'resources'
    const [row] = await this.#connections.read<{ count: number }>({
      text: `SELECT count(*) AS count FROM pool.${table} WHERE kind = $1 AND tenant = $2`,
      values: [kind, tenant],
    })
    return row?.count ?? 0
  }

  async size(tenant: string): Promise<number> {
    const [row] = await this.#connections.read<{ size: number }>({
      text: `SELECT coalesce(sum(size), 0)::bigint AS size FROM (
          SELECT sum(octet_length(body)) AS size FROM pool.resources WHERE kind IN ('agent', 'environment', 'session', 'vault', 'vault_credential', 'webhook_delivery', 'memory_index', 'memory_version', 'memory_mount') AND tenant = $1
          UNION ALL SELECT sum(octet_length(body)) FROM pool.resource_versions WHERE kind = 'agent' AND tenant = $1) sizes`,
      values: [tenant],
      timeoutMs: LONG_QUERY_MS,
    })
    return row?.size ?? 0
  }

  async remove(kind: ResourceKind, tenant: string, id: string): Promise<void> {
    const statement = { name: 'remove resource', text: REMOVE, values: nameOf({ kind, tenant, id }) }
    await this.#connections.persist(() => this.#connections.once(statement))
  }

  /** False: nothing was changed. Repeated after an unknown outcome it finds what it has made. */
  async #write(statement: { name: string; text: string; values: unknown[] }, made: Resource): Promise<boolean> {
    let isRepeated = false
    return this.#connections.persist(async () => {
      try {
        if ((await this.#connections.once(statement)).length > 0) return true
        if (!isRepeated) return false
        const text = `SELECT 1 FROM pool.resources WHERE kind = $1 AND tenant = $2 AND id = $3 AND version = $4 AND body = $5`
        const values = [...nameOf(made), made.version, made.body]
        return (await this.#connections.once({ text, values })).length > 0
      } catch (error) {
        isRepeated = true
        throw error
      }
    })
  }

  /** The size of a text is known without reading it. */
  async #page<Row extends { body: string }>(
    { limit, maxSize }: ReadBounds,
    { select, from, order, values }: { select: string; from: string; order: string; values: readonly unknown[] },
  ): Promise<Rows<Row>> {
    const [most, size] = [`$${values.length + 1}`, `$${values.length + 2}`]
    const rows = await this.#connections.read<Row & { size_before: number }>({
      text: `SELECT ${select}, size_before FROM (
          SELECT *, sum(octet_length(body)) OVER (ORDER BY ${order}) - octet_length(body) AS size_before FROM (
            SELECT * FROM ${from} ORDER BY ${order} LIMIT ${most}) found) page
        WHERE size_before < ${size} ORDER BY ${order}`,
      values: [...values, limit, maxSize],
      timeoutMs: LONG_QUERY_MS,
    })
    const last = rows.at(-1)
    const all = last === undefined ? 0 : last.size_before + Buffer.byteLength(last.body)
    return {
      rows: rows.map(({ size_before: _, ...row }) => row as unknown as Row),
      more: rows.length === limit || all >= maxSize,
    }
  }
}

const toResource = (row: Resource): Resource => ({
  ...row,
  id: unescape(row.id),
  parent: row.parent === null ? null : unescape(row.parent),
})
