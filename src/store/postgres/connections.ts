import type Pg from 'pg'
import { systemClock } from '../../clock.ts'
import { StoreError, storeError } from '../../errors.ts'
import type { PostgresAddress } from '../../options/store.ts'
import { clientConfig } from './client-config.ts'
import { StatementError, connectFailure, queryFailure } from './statement-error.ts'

/** Beside one for the beats of this host: at most four connections a host. */
const MOST_CONNECTIONS = 3

const IDLE_MS = 30_000

/** A statement without an answer for so long has lost its connection. */
const QUERY_MS = 10_000

/** The same for a statement that reads or removes much. */
export const LONG_QUERY_MS = 120_000

/** A failover of a managed database takes up to a minute. */
const OUTAGE_MS = 60_000

/** A read has no side that must not be lost: its caller learns sooner. */
const READ_OUTAGE_MS = 5_000

/** What is repeated while a host ends. */
const HURRY_MS = 2_000

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 500

/** One statement. `pool.` before a table stands for the schema. */
export interface Statement {
  text: string
  values?: readonly unknown[]
  /** Prepared once per connection. Leave it out for text that varies. */
  name?: string
  timeoutMs?: number
}

/** What is done about statements that fail. */
export interface Repeating {
  /** Makes sure that a statement of unknown outcome has no effect from now on. */
  recover?: () => Promise<void>
  outageMs?: number
}

/** Types of the database that JavaScript has words for. */
const BIGINT = 20

/** Loads `pg`. Throws StoreError if it is not installed. */
async function loadPg(): Promise<typeof Pg> {
  try {
    return (await import('pg')).default
  } catch (cause) {
    throw new StoreError('store.postgres needs the package "pg", which is not installed: npm install pg', { cause })
  }
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.after(ms, resolve, { keepAlive: true }))

/** The connections of one host to its database. */
export class Connections {
  /** The address without its password, for messages. */
  readonly place: string
  /** A client beside the others, which is the caller's, and whose statements end after this time. */
  readonly newClient: (timeoutMs: number) => Pg.Client
  readonly #pool: Pg.Pool
  readonly #schema: string
  readonly #isPrepared: boolean
  readonly #texts = new Map<string, string>()
  /** Nothing is repeated after this. */
  #endsAt = Infinity
  #closed = false

  private constructor(pool: Pg.Pool, newClient: Connections['newClient'], address: PostgresAddress) {
    this.#pool = pool
    this.newClient = newClient
    this.place = address.shown
    this.#schema = address.schema
    this.#isPrepared = !address.isPooled
  }

  /** Rejects with StoreError if `pg` is missing. Connects with the first statement. */
  static async open(address: PostgresAddress): Promise<Connections> {
    const pg = await loadPg()
    const base = {
      ...clientConfig(address),
      types: {
        getTypeParser: ((type: number, format: 'text') =>
          type === BIGINT ? Number : (pg.types.getTypeParser(type, format) as unknown)) as never,
      },
    }
    const pool = new pg.Pool({ ...base, max: MOST_CONNECTIONS, idleTimeoutMillis: IDLE_MS, query_timeout: QUERY_MS })
    // A connection that breaks while nothing runs on it must not end the host.
    pool.on('error', () => undefined)
    pool.on('connect', (client) => client.on('error', () => undefined))
    const newClient = (timeoutMs: number): Pg.Client =>
      new pg.Client({ ...base, query_timeout: timeoutMs, connectionTimeoutMillis: timeoutMs })
    return new Connections(pool, newClient, address)
  }

  get schema(): string {
    return this.#schema
  }

  /** Runs one statement once. Rejects with StatementError. */
  async once<Row>(statement: Statement): Promise<Row[]> {
    return this.session((run) => run<Row>(statement))
  }

  /** Runs statements on one connection, which is given back. Rejects with StatementError. */
  async session<T>(work: (run: <Row>(statement: Statement) => Promise<Row[]>) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((error: unknown) => Promise.reject(connectFailure(error)))
    try {
      const answer = await work((statement) => this.#run(client, statement))
      client.release()
      return answer
    } catch (error) {
      // What else is on its way on this connection, or has been left open by it, is unknown.
      client.release(true)
      throw error
    }
  }

  /** Reads. Repeats a read that a broken connection has cut off. Rejects with StoreError. */
  read<Row>(statement: Statement): Promise<Row[]> {
    return this.persist(() => this.once<Row>(statement), { outageMs: READ_OUTAGE_MS })
  }

  /** Does the work, and repeats it while the database is away. Rejects with StoreError, and with what else the work throws. */
  async persist<T>(work: () => Promise<T>, { recover, outageMs = OUTAGE_MS }: Repeating = {}): Promise<T> {
    const until = systemClock.now() + outageMs
    let isUnknown = false
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        if (isUnknown) await recover?.()
        isUnknown = false
        return await work()
      } catch (error) {
        if (!(error instanceof StatementError)) throw error
        isUnknown ||= error.outcome === 'unknown'
        if (!error.passes || systemClock.now() >= Math.min(until, this.#endsAt)) throw error.toStoreError(this.place)
      }
      await pause(pauseMs * (0.5 + Math.random() / 2))
    }
  }

  /** This host is about to end: what does not succeed soon fails. */
  hurry(): void {
    this.#endsAt = Math.min(this.#endsAt, systemClock.now() + HURRY_MS)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#pool.end().catch((error: unknown) => Promise.reject(storeError(this.place, error)))
  }

  async #run<Row>(client: Pg.PoolClient, { text, values = [], name, timeoutMs }: Statement): Promise<Row[]> {
    const query = {
      text: this.textOf(text),
      values: [...values],
      ...(name === undefined || !this.#isPrepared ? {} : { name }),
      ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs }),
    }
    try {
      return (await client.query(query)).rows as Row[]
    } catch (error) {
      throw queryFailure(error)
    }
  }

  /** The statement with the name of the schema. */
  textOf(text: string): string {
    let own = this.#texts.get(text)
    if (own === undefined) {
      own = text.replaceAll(/\bpool\.(?=[a-z_]+)/g, `"${this.#schema}".`)
      if (this.#texts.size < 500) this.#texts.set(text, own)
    }
    return own
  }
}
