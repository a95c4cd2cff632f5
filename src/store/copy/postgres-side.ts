import { StoreError } from '../../errors.ts'
import type { PostgresAddress } from '../../options/store.ts'
import { Connections, LONG_QUERY_MS } from '../postgres/connections.ts'
import { checkMigrated, migrate } from '../postgres/schema.ts'
import { escape, unescape } from '../postgres/text.ts'
import type { CopyPage, CopyProgress, CopySource, CopyTarget, Cursor } from './copy.ts'
import { PAGE_BYTES, PAGE_ROWS, TABLES } from './tables.ts'
import type { CopyTable, Row, Value } from './tables.ts'

/** A host that ended without a word is not heard for so long. */
const RUNNING = `SELECT place FROM pool.hosts WHERE state <> 'gone' AND beat_at > clock_timestamp() - interval '1 minute' LIMIT 1`

const ARRAYS = { boolean: 'integer', timestamptz: 'bigint' } as const

/** The tables of a database. */
class PostgresTables {
  readonly connections: Connections
  readonly shown: string

  constructor(connections: Connections) {
    this.connections = connections
    this.shown = `${connections.place} (schema ${connections.schema})`
  }

  async read(table: CopyTable, after: Cursor | undefined): Promise<CopyPage> {
    const { from, values = {}, cursor } = table.postgres
    const columns = table.columns.map(({ name, type }) => `${valueOf(values[name] ?? name, type)} AS "${name}"`)
    const places = cursor.map((column, place) => `${column} AS cursor_${place}`)
    const order = cursor.map((_, place) => `cursor_${place}`).join()
    const size = table.large === undefined ? '0' : `coalesce(octet_length(${table.large}), 0)`
    const beyond =
      after === undefined ? '' : `WHERE (${cursor.join()}) > (${cursor.map((_, place) => `$${place + 1}`).join()})`
    const rows = await this.connections.read<Record<string, Value>>({
      text: `SELECT * FROM (
          SELECT q.*, sum(size) OVER (ORDER BY ${order}) - size AS size_before FROM (
            SELECT ${[...columns, ...places].join()}, ${size} AS size FROM ${from} ${beyond}
            ORDER BY ${cursor.join()} LIMIT ${PAGE_ROWS}) q) page
        WHERE size_before < ${PAGE_BYTES} ORDER BY ${order}`,
      values: after ?? [],
      timeoutMs: LONG_QUERY_MS,
    })
    const last = rows.at(-1)
    return {
      rows: rows.map((row) =>
        table.columns.map(({ name, isEscaped }) => {
          const value = row[name] as Value
          return isEscaped === true && typeof value === 'string' ? unescape(value) : value
        }),
      ),
      next: last && cursor.map((_, place) => last[`cursor_${place}`] as Value),
    }
  }

  async checkUnused(): Promise<void> {
    const [host] = await this.connections.read<{ place: string }>({ text: RUNNING })
    if (host === undefined) return
    throw new StoreError(
      `the host ${host.place} runs on ${this.shown}; end all hosts first ("claude-agent-pool hosts")`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connections.close()
  }
}

const valueOf = (column: string, type: CopyTable['columns'][number]['type']): string =>
  type === 'boolean'
    ? `${column}::integer`
    : type === 'timestamptz'
      ? `floor(extract(epoch FROM ${column}) * 1000)::bigint`
      : column

/** A database that is copied. Rejects with StoreError. */
export async function postgresSource(address: PostgresAddress): Promise<CopySource> {
  const tables = new PostgresTables(await Connections.open(address))
  try {
    await checkMigrated(tables.connections)
    await tables.checkUnused()
    return tables
  } catch (error) {
    await tables[Symbol.asyncDispose]()
    throw error
  }
}

class PostgresTarget extends PostgresTables implements CopyTarget {
  async begin(from: string): Promise<CopyProgress> {
    await migrate(this.connections)
    const found = await this.#note()
    if (found !== undefined) return this.#resumed(found, from)
    await this.#checkEmpty()
    const progress: CopyProgress = { from, table: 0 }
    // From now on no host starts here.
    const text = `INSERT INTO pool.jobs (name, note) VALUES ('copy', $1) ON CONFLICT (name) DO NOTHING`
    await this.#persist(text, [JSON.stringify(progress)])
    try {
      await this.checkUnused()
      await this.#checkEmpty()
    } catch (error) {
      await this.#persist(`DELETE FROM pool.jobs WHERE name = 'copy'`, [])
      throw error
    }
    return progress
  }

  async write(
    table: CopyTable,
    rows: readonly Row[],
    { before, after }: { before: CopyProgress; after: CopyProgress },
  ): Promise<void> {
    const notes = [JSON.stringify(before), JSON.stringify(after)]
    const typed = table.columns.map(({ name, type, isEscaped }, place) => ({
      name,
      type,
      array: `$${place + 3}::${type in ARRAYS ? ARRAYS[type as keyof typeof ARRAYS] : type}[]`,
      values: rows.map((row) => {
        const value = row[place] ?? null
        return isEscaped === true && typeof value === 'string' ? escape(value) : value
      }),
    }))
    const names = typed.map(({ name }) => name)
    const casts = typed.map(({ name, type }) =>
      type === 'boolean'
        ? `${name}::boolean AS ${name}`
        : type === 'timestamptz'
          ? `to_timestamp(${name} / 1000.0) AS ${name}`
          : name,
    )
    // Repeated after an unknown outcome it finds another note, and adds nothing.
    const text = `WITH go AS (UPDATE pool.jobs SET note = $2 WHERE name = 'copy' AND note = $1 RETURNING 1),
      w AS (SELECT ${casts.join()}, place FROM unnest(${typed.map(({ array }) => array).join()})
        WITH ORDINALITY AS u (${names.join()}, place) WHERE EXISTS (SELECT 1 FROM go)),
      added AS (${table.postgres.insert})
      SELECT 1 FROM go`
    const done = await this.#persist(text, [...notes, ...typed.map(({ values }) => values)])
    if (done.length === 0 && (await this.#note()) !== notes[1])
      throw new StoreError(`another copy writes to ${this.shown}`)
  }

  async finish(): Promise<void> {
    await this.#persist(
      `UPDATE pool.sessions s SET last_number = (SELECT coalesce(max(number), 0) FROM pool.events WHERE session = s.id)`,
      [],
    )
    await this.#persist(`DELETE FROM pool.jobs WHERE name = 'copy'`, [])
  }

  /** Removes an unfinished copy. */
  async restart(): Promise<void> {
    await migrate(this.connections)
    if ((await this.#note()) === undefined) return
    for (const { postgres } of TABLES.toReversed()) {
      const table = postgres.from.split(' ')[0] as string
      await this.#persist(`DELETE FROM ${table}`, [])
    }
    await this.#persist(`DELETE FROM pool.jobs WHERE name = 'copy'`, [])
  }

  async #note(): Promise<string | undefined> {
    const text = `SELECT note FROM pool.jobs WHERE name = 'copy'`
    return (await this.connections.read<{ note: string }>({ text }))[0]?.note
  }

  #resumed(note: string, from: string): CopyProgress {
    const progress = JSON.parse(note) as CopyProgress
    if (progress.from === from) return progress
    throw new StoreError(
      `${this.shown} has an unfinished copy of ${progress.from}; finish that one, or begin anew with --restart`,
    )
  }

  async #checkEmpty(): Promise<void> {
    for (const { name, postgres } of TABLES) {
      const text = `SELECT 1 FROM ${postgres.from} LIMIT 1`
      if ((await this.connections.read({ text })).length > 0)
        throw new StoreError(`${this.shown} is not empty: it has ${name}; copy into another database or another schema`)
    }
  }

  #persist(text: string, values: readonly unknown[]): Promise<unknown[]> {
    return this.connections.persist(() => this.connections.once({ text, values, timeoutMs: LONG_QUERY_MS }))
  }
}

/** A database that is written. `restart`: an unfinished copy is removed first. Rejects with StoreError. */
export async function postgresTarget(address: PostgresAddress, { restart }: { restart: boolean }): Promise<CopyTarget> {
  const target = new PostgresTarget(await Connections.open(address))
  try {
    if (restart) await target.restart()
    return target
  } catch (error) {
    await target[Symbol.asyncDispose]()
    throw error
  }
}
