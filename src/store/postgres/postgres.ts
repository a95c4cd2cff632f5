import type { PostgresAddress } from '../../options/store.ts'
import { EVENTS_PAGE_BYTES } from '../events.ts'
import type {
  Budget,
  BudgetAccount,
  ClaimedSession,
  EventRange,
  EventTotals,
  SessionClaim,
  SessionPage,
  SessionRecord,
  Spending,
  Store,
  StoredEvent,
  TranscriptEntry,
  TranscriptInfo,
  TranscriptKey,
} from '../store.ts'
import { Accounts } from './accounts.ts'
import { PostgresApiStore } from './api.ts'
import { Appends } from './appends.ts'
import { Claims, OWNED, notThere } from './claims.ts'
import { Connections, LONG_QUERY_MS } from './connections.ts'
import { Hosts } from './hosts.ts'
import { Lanes } from './lanes.ts'
import { COLUMNS, FACTS, factsOf, toRecord } from './rows.ts'
import { usageText } from '../usage-json.ts'
import type { SessionRow } from './rows.ts'
import { checkMigrated, checkWhole, migrate } from './schema.ts'
import type { Migrated } from './schema.ts'
import { escape, unescape } from './text.ts'
import { Transcripts } from './transcripts.ts'

/** Writes of one lane take effect in the order of their calls. */
const HOSTS = 'hosts'
const SPENDINGS = 'spendings'

const REMOVE = `
WITH gone AS (DELETE FROM pool.sessions WHERE ${OWNED} RETURNING tenant, key, sdk_session_id),
t AS (DELETE FROM pool.transcripts t USING gone WHERE t.tenant = gone.tenant AND t.sdk_session_id = gone.sdk_session_id),
a AS (DELETE FROM pool.accounts a USING gone WHERE a.scope = 'session' AND a.tenant = gone.tenant AND a.name = gone.key),
r AS (DELETE FROM pool.resources r USING gone WHERE r.kind = 'session' AND r.tenant = gone.tenant AND r.id = gone.key),
k AS (DELETE FROM pool.answers k USING gone WHERE k.tenant = gone.tenant AND k.session = gone.key)
SELECT 1 FROM gone`

/** The row is locked, so that a claim waits. */
const TRIM = `
WITH own AS (SELECT id, last_number FROM pool.sessions WHERE ${OWNED} FOR SHARE),
trimmed AS (DELETE FROM pool.events e USING own WHERE e.session = own.id AND e.number < least($4::bigint, own.last_number))
SELECT 1 FROM own`

/** What the session owner's statement did: nothing, if it does not own the session any more. */
interface OwnedStatement {
  name: string
  text: string
  /** Those after the three of the claim. */
  values?: readonly unknown[]
  timeoutMs?: number
}

/** The store of a cluster: sessions in PostgreSQL, shared by many hosts. */
export class PostgresStore implements Store {
  readonly #connections: Connections
  readonly #claims: Claims
  readonly #appends: Appends
  readonly #transcripts: Transcripts
  readonly #accounts: Accounts
  readonly #lanes = new Lanes()
  readonly hosts: Hosts
  readonly api: PostgresApiStore

  private constructor(connections: Connections) {
    this.#connections = connections
    this.#claims = new Claims(connections)
    this.#appends = new Appends(connections, this.#claims)
    this.#transcripts = new Transcripts(connections, this.#claims)
    this.#accounts = new Accounts(connections)
    this.hosts = new Hosts(connections, this.#claims)
    this.api = new PostgresApiStore(connections, () => this.#claims.host)
  }

  /**
   * Connects, and brings the schema up to date unless `migrates` is false. `isCopy`: it may be an unfinished copy. Rejects with StoreError: `pg` is missing, or the database
   * cannot be used.
   */
  static async open(
    address: PostgresAddress,
    { migrates = true, isCopy = false }: { migrates?: boolean; isCopy?: boolean } = {},
  ): Promise<PostgresStore> {
    const connections = await Connections.open(address)
    try {
      await (migrates ? migrate(connections) : checkMigrated(connections))
      if (!isCopy) await checkWhole(connections)
    } catch (error) {
      await connections.close()
      throw error
    }
    return new PostgresStore(connections)
  }

  /** Removes the schema with all its tables. */
  async dropSchema(): Promise<void> {
    await this.#connections.once({ text: `DROP SCHEMA "${this.#connections.schema}" CASCADE` })
  }

  /** Brings the schema up to date, and does nothing else. Rejects with StoreError. */
  static async migrate(address: PostgresAddress): Promise<Migrated> {
    const connections = await Connections.open(address)
    try {
      return await migrate(connections)
    } finally {
      await connections.close()
    }
  }

  get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    return this.#session('get', 'tenant = $1 AND key = $2', [tenant, key])
  }

  findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined> {
    return this.#session('find', 'sdk_session_id = $1', [escape(sdkSessionId)])
  }

  register(place: string): Promise<string> {
    return this.#lanes.run(HOSTS, () => this.#claims.register(place))
  }

  create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined> {
    const { tenant, key } = record
    return this.#lanes.run(JSON.stringify([tenant, key]), () => this.#claims.create(record, owner))
  }

  claim(uid: string, owner: string): Promise<ClaimedSession> {
    return this.#lanes.run(uid, () => this.#claims.claim(uid, owner))
  }

  release(claim: SessionClaim): Promise<void> {
    return this.#lanes.run(claim.uid, () => this.#claims.release(claim))
  }

  adopt(owner: string, limit: number): Promise<ClaimedSession[]> {
    return this.#lanes.run(HOSTS, () => this.#claims.adopt(owner, limit))
  }

  async put(record: SessionRecord, claim: SessionClaim): Promise<void> {
    const text = `UPDATE pool.sessions SET (${FACTS}) = ($4, $5, $6, $7, $8, $9, $10, $11, $12) WHERE ${OWNED} RETURNING 1`
    if (!(await this.#owned(claim, { name: 'put', text, values: factsOf(record) }))) throw notThere(claim.uid)
  }

  async touch({ turns, usage, lastUsedAt }: Parameters<Store['touch']>[0], claim: SessionClaim): Promise<void> {
    const text = `UPDATE pool.sessions SET turns = $4, usage = $5, last_used_at = $6 WHERE ${OWNED} RETURNING 1`
    await this.#owned(claim, { name: 'touch', text, values: [turns, usageText(usage), lastUsedAt] })
  }

  async remove(claim: SessionClaim): Promise<void> {
    await this.#owned(claim, { name: 'remove', text: REMOVE, timeoutMs: LONG_QUERY_MS })
    this.#claims.forget(claim)
  }

  async list({ tenant, agent, order, descending, after, limit }: SessionPage): Promise<SessionRecord[]> {
    const values: unknown[] = []
    const value = (given: unknown): string => `$${values.push(given)}`
    const conditions: string[] = []
    if (tenant !== undefined) conditions.push(`tenant = ${value(tenant)}`)
    if (agent !== undefined) conditions.push(`agent = ${value(agent)}`)
    const columns = order === 'created' ? ['created_at', 'tenant', 'key'] : ['tenant', 'key']
    if (after !== undefined) {
      const place = [...(order === 'created' ? [after.createdAt ?? 0] : []), after.tenant, after.key]
      conditions.push(`(${columns.join()}) ${descending === true ? '<' : '>'} (${place.map(value).join()})`)
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
    const sorted = columns.map((column) => `${column} ${descending === true ? 'DESC' : 'ASC'}`).join()
    const rows = await this.#connections.read<SessionRow>({
      text: `SELECT ${COLUMNS} FROM pool.sessions ${where} ORDER BY ${sorted} LIMIT ${value(limit)}`,
      values,
    })
    return rows.map(toRecord)
  }

  appendEvents(claim: SessionClaim, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void> {
    return this.#lanes.run(claim.uid, () => this.#appends.append(claim, events, turn))
  }

  async readEvents(uid: string, range: EventRange): Promise<StoredEvent[]> {
    const { after, before, types, descending, limit, maxBytes = EVENTS_PAGE_BYTES } = range
    const order = `number ${descending === true ? 'DESC' : 'ASC'}`
    const rows = await this.#connections.read<StoredEvent>({
      name: `read events${descending === true ? ' backwards' : ''}`,
      // The size of a text is known without reading it.
      text: `SELECT number, event_id AS id, type, at, json FROM (
          SELECT e.*, sum(octet_length(json)) OVER (ORDER BY ${order}) - octet_length(json) AS bytes_before
          FROM pool.events e WHERE session = (SELECT id FROM pool.sessions WHERE uid = $1)
          AND ($2::bigint IS NULL OR number > $2) AND ($3::bigint IS NULL OR number < $3)
          AND ($4::text[] IS NULL OR type = ANY ($4)) ORDER BY ${order} LIMIT $5) page
        WHERE bytes_before < $6 ORDER BY ${order}`,
      values: [uid, bound(after), bound(before), types?.map(escape) ?? null, limit, maxBytes],
      timeoutMs: LONG_QUERY_MS,
    })
    return rows.map((row) => ({ ...row, id: unescape(row.id), type: unescape(row.type) }))
  }

  async eventTotals(uid: string): Promise<EventTotals> {
    const [totals] = await this.#connections.read<EventTotals>({
      text: `SELECT coalesce(min(number), 0) AS first, coalesce(max(number), 0) AS last,
        coalesce(sum(octet_length(json)), 0)::bigint AS size
        FROM pool.events WHERE session = (SELECT id FROM pool.sessions WHERE uid = $1)`,
      values: [uid],
      timeoutMs: LONG_QUERY_MS,
    })
    return totals ?? { first: 0, last: 0, size: 0 }
  }

  async trimEvents(claim: SessionClaim, before: number): Promise<void> {
    await this.#owned(claim, { name: 'trim', text: TRIM, values: [bound(before)], timeoutMs: LONG_QUERY_MS })
  }

  appendTranscript(
    key: TranscriptKey,
    entries: readonly TranscriptEntry[],
    at: number,
    claim?: SessionClaim,
  ): Promise<void> {
    return this.#lanes.run(laneOf(key, claim), () => this.#transcripts.append(key, entries, at, claim))
  }

  loadTranscript(key: TranscriptKey): Promise<string[] | undefined> {
    return this.#transcripts.load(key)
  }

  listTranscripts(tenant: string, project: string): Promise<TranscriptInfo[]> {
    return this.#transcripts.list(tenant, project)
  }

  listSubpaths(key: TranscriptKey): Promise<string[]> {
    return this.#transcripts.subpaths(key)
  }

  transcriptSize(tenant: string, sdkSessionId: string): Promise<number> {
    return this.#transcripts.size(tenant, sdkSessionId)
  }

  leftoverTranscripts(of: Parameters<Store['leftoverTranscripts']>[0]): Promise<TranscriptKey[]> {
    return this.#transcripts.leftovers(of)
  }

  moveTranscripts(tenant: string, sdkSessionId: string, project: string, claim?: SessionClaim): Promise<void> {
    const lane = laneOf({ tenant, sdkSessionId }, claim)
    return this.#lanes.run(lane, () => this.#transcripts.move(tenant, sdkSessionId, project, claim))
  }

  removeTranscript(key: TranscriptKey, claim?: SessionClaim): Promise<void> {
    return this.#lanes.run(laneOf(key, claim), () => this.#transcripts.remove(key, claim))
  }

  readAccount(account: BudgetAccount): ReturnType<Store['readAccount']> {
    return this.#accounts.read(account)
  }

  spend(account: BudgetAccount, spending: Spending): Promise<void> {
    return this.#lanes.run(SPENDINGS, () => this.#accounts.spend(account, spending))
  }

  setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<void> {
    return this.#lanes.run(SPENDINGS, () => this.#accounts.setBudget(account, budget))
  }

  async flush(): Promise<void> {
    // A statement has resolved when its commit is on the server's disk.
  }

  hurry(): void {
    this.#connections.hurry()
  }

  async close(): Promise<void> {
    this.hurry()
    await this.#lanes.settled()
    // A database that is away frees the sessions when this host has been silent.
    await this.#claims.leave().catch(() => undefined)
    await this.hosts.close()
    await this.#connections.close()
  }

  async #session(name: string, condition: string, values: readonly unknown[]): Promise<SessionRecord | undefined> {
    const text = `SELECT ${COLUMNS} FROM pool.sessions WHERE ${condition}`
    const [row] = await this.#connections.read<SessionRow>({ name: `session by ${name}`, text, values })
    return row === undefined ? undefined : toRecord(row)
  }

  /** Runs a statement of a session's owner; false if the session is not there. Rejects with FencedError and StoreError. */
  #owned(claim: SessionClaim, { name, text, values = [], timeoutMs }: OwnedStatement): Promise<boolean> {
    const attempt = (): Promise<unknown[]> =>
      this.#connections.once({
        name,
        text,
        values: [...this.#claims.valuesOf(claim), ...values],
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      })
    return this.#lanes.run(claim.uid, async () => {
      const rows = await this.#connections.persist(attempt, { recover: () => this.#claims.raise([claim]) })
      if (rows.length > 0) return true
      const refused = await this.#claims.refusal(claim.uid)
      if (refused !== undefined) throw refused
      return false
    })
  }
}

/** A number that the database has words for. */
const bound = (number: number | undefined): number | null =>
  number === undefined || !Number.isFinite(number) ? null : Math.ceil(number)

const laneOf = ({ tenant, sdkSessionId }: Omit<TranscriptKey, 'project'>, claim: SessionClaim | undefined): string =>
  claim?.uid ?? JSON.stringify([tenant, sdkSessionId, ''])
