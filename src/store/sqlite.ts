import type { SQLInputValue } from 'node:sqlite'
import { StoreError } from '../errors.ts'
import { FACTS, factsOf, toRecord } from './session-rows.ts'
import { usageText } from './usage-json.ts'
import type { SessionRow } from './session-rows.ts'
import {
  OWNED,
  adoptSessions,
  checkUnowned,
  claimSession,
  notThere,
  refusal,
  register,
  release,
  valuesOf,
} from './sqlite-claims.ts'
import { EVENTS_PAGE_BYTES, badAppend } from './events.ts'
import { EventEnds } from './event-ends.ts'
import { isLarge, pack, unpack } from './packed-json.ts'
import type { PackedEvent } from './packed-json.ts'
import type { EventEnd } from './event-ends.ts'
import { readAccount, setBudget, spend } from './sqlite-accounts.ts'
import { SqliteDatabase } from './sqlite-database.ts'
import type { OpenOptions } from './sqlite-database.ts'
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
} from './store.ts'

/** SQLite ends text at NUL and has no lone surrogates. JSON has words for both; what the pool names itself needs none. */
const escape = (text: string): string => JSON.stringify(text).slice(1, -1)
const unescape = (text: string): string => JSON.parse(`"${text}"`) as string

const ONE_STATEMENT = { isOneStatement: true }

/** Conditions and their values, side by side. */
class Where {
  readonly #conditions: string[] = []
  readonly values: SQLInputValue[] = []

  and(condition: string, ...values: (SQLInputValue | undefined)[]): this {
    if (values.includes(undefined)) return this
    this.#conditions.push(condition)
    this.values.push(...(values as SQLInputValue[]))
    return this
  }

  get sql(): string {
    return this.#conditions.length === 0 ? '' : `WHERE ${this.#conditions.join(' AND ')}`
  }
}

/** The embedded store: one SQLite file, one host at a time. */
export class SqliteStore implements Store {
  readonly #database: SqliteDatabase
  readonly #ends = new EventEnds()

  /** Opens the file, or makes it, and brings its schema up to date, unless it is only read. Throws StoreError. */
  constructor(path: string, options: OpenOptions = {}) {
    this.#database = new SqliteDatabase(path, () => this.#ends.forget(), options)
  }

  async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    return this.#session('tenant = ? AND key = ?', tenant, key)
  }

  async findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined> {
    return this.#session('sdk_session_id = ?', sdkSessionId)
  }

  register(place: string): Promise<string> {
    return this.#database.write(() => register(this.#database, place))
  }

  create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined> {
    const { tenant, key, uid } = record
    const facts = factsOf(record)
    return this.#database.write(() => {
      const added = this.#database.run(
        `INSERT INTO sessions (tenant, key, uid, owner, fence, ${FACTS})
         VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, key) DO NOTHING`,
        tenant,
        key,
        uid,
        Number(owner),
        ...facts,
      )
      return added === 0 ? undefined : { uid, owner, fence: 1 }
    }, ONE_STATEMENT)
  }

  claim(uid: string, owner: string): Promise<ClaimedSession> {
    return this.#database.write(() => claimSession(this.#database, uid, owner), ONE_STATEMENT)
  }

  release(claim: SessionClaim): Promise<void> {
    return this.#database.write(() => release(this.#database, claim), ONE_STATEMENT)
  }

  adopt(owner: string, limit: number): Promise<ClaimedSession[]> {
    return this.#database.write(() => adoptSessions(this.#database, owner, limit), ONE_STATEMENT)
  }

  put(record: SessionRecord, claim: SessionClaim): Promise<void> {
    const facts = factsOf(record)
    return this.#database.write(() => {
      const set = `UPDATE sessions SET (${FACTS}) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE ${OWNED}`
      if (this.#database.run(set, ...facts, ...valuesOf(claim)) > 0) return
      throw refusal(this.#database, claim.uid) ?? notThere(claim.uid)
    }, ONE_STATEMENT)
  }

  touch({ turns, usage, lastUsedAt }: Parameters<Store['touch']>[0], claim: SessionClaim): Promise<void> {
    const used = usageText(usage)
    return this.#database.write(() => {
      const set = `UPDATE sessions SET turns = ?, usage = ?, last_used_at = ? WHERE ${OWNED}`
      if (this.#database.run(set, turns, used, lastUsedAt, ...valuesOf(claim)) > 0) return
      const refused = refusal(this.#database, claim.uid)
      if (refused !== undefined) throw refused
    }, ONE_STATEMENT)
  }

  remove(claim: SessionClaim): Promise<void> {
    return this.#database.write(() => {
      const session = this.#owned(claim)
      if (session === undefined) return
      this.#ends.forget()
      this.#database.run(
        `DELETE FROM transcripts WHERE (tenant, sdk_session_id) IN
         (SELECT tenant, sdk_session_id FROM sessions WHERE id = ?)`,
        session,
      )
      this.#database.run(
        `DELETE FROM accounts WHERE scope = 'session' AND (tenant, name) IN
         (SELECT tenant, key FROM sessions WHERE id = ?)`,
        session,
      )
      // Its events go with it.
      this.#database.run('DELETE FROM sessions WHERE id = ?', session)
    })
  }

  async list({ tenant, agent, order, descending, after, limit }: SessionPage): Promise<SessionRecord[]> {
    const where = new Where().and('tenant = ?', tenant).and('agent = ?', agent)
    const beyond = descending === true ? '<' : '>'
    const columns = order === 'created' ? ['created_at', 'tenant', 'key'] : ['tenant', 'key']
    if (after !== undefined) {
      const place = [...(order === 'created' ? [after.createdAt ?? 0] : []), after.tenant, after.key]
      where.and(`(${columns.join()}) ${beyond} (${columns.map(() => '?').join()})`, ...place)
    }
    const sorted = columns.map((column) => `${column} ${descending === true ? 'DESC' : 'ASC'}`).join()
    return this.#database
      .all<SessionRow>(`SELECT * FROM sessions ${where.sql} ORDER BY ${sorted} LIMIT ?`, ...where.values, limit)
      .map(toRecord)
  }

  appendEvents(claim: SessionClaim, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void> {
    const isOneStatement = events.length === 1 && turn === undefined
    const write = (rows: readonly PackedEvent[]): Promise<void> =>
      this.#database.write(() => this.#append(claim, rows, turn), { isOneStatement })
    return events.some(isLarge) ? Promise.all(events.map(pack)).then(write) : write(events)
  }

  async readEvents(uid: string, range: EventRange): Promise<StoredEvent[]> {
    const { after, before, types, descending, limit, maxBytes = EVENTS_PAGE_BYTES } = range
    const session = this.#idOf(uid)
    if (session === undefined) return []
    const where = new Where().and('session = ?', session).and('number > ?', after).and('number < ?', before)
    where.and('type IN (SELECT value FROM json_each(?))', types === undefined ? undefined : JSON.stringify(types))
    const page: PackedEvent[] = []
    let bytes = 0
    const take = (row: PackedEvent): boolean => {
      page.push(row)
      bytes += row.bytes ?? Buffer.byteLength(row.json)
      return bytes < maxBytes
    }
    this.#database.some<PackedEvent>(
      take,
      `SELECT number, event_id AS id, type, at, json, packed, bytes FROM events ${where.sql}
       ORDER BY number ${descending === true ? 'DESC' : 'ASC'} LIMIT ?`,
      ...where.values,
      limit,
    )
    return unpack(page)
  }

  async eventTotals(uid: string): Promise<EventTotals> {
    const totals = this.#database.one<EventTotals>(
      `SELECT coalesce(min(number), 0) AS first, coalesce(max(number), 0) AS last, coalesce(sum(coalesce(bytes, octet_length(json))), 0) AS size
       FROM events WHERE session = ?`,
      this.#idOf(uid) ?? null,
    )
    return { first: 0, last: 0, size: 0, ...totals }
  }

  trimEvents(claim: SessionClaim, before: number): Promise<void> {
    return this.#database.write(() => {
      const session = this.#owned(claim)
      if (session === undefined) return
      const end = Math.min(before, this.#lastOf(session))
      this.#database.run('DELETE FROM events WHERE session = ? AND number < ?', session, end)
    })
  }

  appendTranscript(
    key: TranscriptKey,
    entries: readonly TranscriptEntry[],
    at: number,
    claim?: SessionClaim,
  ): Promise<void> {
    return this.#database.write(() => {
      this.#checkTranscript(key, claim)
      if (entries.length === 0) return
      this.#database.run(
        `INSERT INTO transcripts (tenant, project, sdk_session_id, subpath, written_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (tenant, project, sdk_session_id, subpath) DO UPDATE SET written_at = excluded.written_at`,
        ...transcriptId(key),
        at,
      )
      const transcript = this.#transcript(key) ?? null
      for (const { uuid, json } of entries) {
        this.#database.run(
          'INSERT INTO transcript_entries (transcript, uuid, json) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
          transcript,
          uuid === undefined ? null : escape(uuid),
          json,
        )
      }
    })
  }

  async loadTranscript(key: TranscriptKey): Promise<string[] | undefined> {
    const transcript = this.#transcript(key)
    if (transcript === undefined) return undefined
    return this.#database
      .all<{ json: string }>('SELECT json FROM transcript_entries WHERE transcript = ? ORDER BY id', transcript)
      .map(({ json }) => json)
  }

  async listTranscripts(tenant: string, project: string): Promise<TranscriptInfo[]> {
    return this.#database
      .all<{ id: string; at: number }>(
        `SELECT sdk_session_id AS id, written_at AS at FROM transcripts WHERE tenant = ? AND project = ? AND subpath = ''`,
        tenant,
        escape(project),
      )
      .map(({ id, at }) => ({ sdkSessionId: unescape(id), writtenAt: at }))
  }

  async listSubpaths(key: TranscriptKey): Promise<string[]> {
    return this.#database
      .all<{ subpath: string }>(
        `SELECT subpath FROM transcripts WHERE tenant = ? AND project = ? AND sdk_session_id = ? AND subpath <> ''`,
        ...transcriptId(key).slice(0, 3),
      )
      .map(({ subpath }) => unescape(subpath))
  }

  async transcriptSize(tenant: string, sdkSessionId: string): Promise<number> {
    const sum = this.#database.one<{ size: number }>(
      `SELECT coalesce(sum(octet_length(json)), 0) AS size FROM transcript_entries
       WHERE transcript IN (SELECT id FROM transcripts WHERE tenant = ? AND sdk_session_id = ?)`,
      tenant,
      escape(sdkSessionId),
    )
    return sum?.size ?? 0
  }

  async leftoverTranscripts(of: Parameters<Store['leftoverTranscripts']>[0]): Promise<TranscriptKey[]> {
    const { tenant, before = Infinity, limit } = of
    const where = new Where().and('tenant = ?', tenant)
    where.and(
      `NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.sdk_session_id = transcripts.sdk_session_id
       AND sessions.tenant = transcripts.tenant)`,
    )
    return this.#database
      .all<{ tenant: string; project: string; id: string }>(
        `SELECT tenant, project, sdk_session_id AS id FROM transcripts ${where.sql}
         GROUP BY tenant, project, sdk_session_id HAVING max(written_at) < ? LIMIT ?`,
        ...where.values,
        before,
        limit,
      )
      .map(({ id, project, ...rest }) => ({ ...rest, project: unescape(project), sdkSessionId: unescape(id) }))
  }

  moveTranscripts(tenant: string, sdkSessionId: string, project: string, claim?: SessionClaim): Promise<void> {
    return this.#database.write(() => {
      this.#checkTranscript({ tenant, sdkSessionId }, claim)
      this.#database.run(
        'UPDATE OR REPLACE transcripts SET project = ?1 WHERE tenant = ?2 AND sdk_session_id = ?3 AND project <> ?1',
        escape(project),
        tenant,
        escape(sdkSessionId),
      )
    })
  }

  removeTranscript(key: TranscriptKey, claim?: SessionClaim): Promise<void> {
    const [tenant, project, sdkSessionId, subpath] = transcriptId(key)
    return this.#database.write(() => {
      this.#checkTranscript(key, claim)
      this.#database.run(
        `DELETE FROM transcripts WHERE tenant = ? AND project = ? AND sdk_session_id = ? AND ? IN ('', subpath)`,
        tenant,
        project,
        sdkSessionId,
        subpath,
      )
    })
  }

  async readAccount(account: BudgetAccount): ReturnType<Store['readAccount']> {
    return readAccount(this.#database, account)
  }

  spend(account: BudgetAccount, spending: Spending): Promise<void> {
    return this.#database.write(() => spend(this.#database, account, spending))
  }

  setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<void> {
    return this.#database.write(() => setBudget(this.#database, account, budget))
  }

  flush(): Promise<void> {
    return this.#database.flush()
  }

  backup(path: string): Promise<void> {
    return this.#database.backup(path)
  }

  close(): Promise<void> {
    return this.#database.close()
  }

  #session(condition: string, ...values: SQLInputValue[]): SessionRecord | undefined {
    const row = this.#database.one<SessionRow>(`SELECT * FROM sessions WHERE ${condition}`, ...values)
    return row === undefined ? undefined : toRecord(row)
  }

  /** The row of the session that this is the valid claim of; undefined if it is not there. Throws FencedError. */
  #owned(claim: SessionClaim): number | undefined {
    const owned = this.#database.one<{ id: number }>(`SELECT id FROM sessions WHERE ${OWNED}`, ...valuesOf(claim))
    const refused = owned === undefined ? refusal(this.#database, claim.uid) : undefined
    if (refused !== undefined) throw refused
    return owned?.id
  }

  /** Throws FencedError for a transcript of a session that another host owns. */
  #checkTranscript({ tenant, sdkSessionId }: Omit<TranscriptKey, 'project'>, claim: SessionClaim | undefined): void {
    if (claim !== undefined) this.#owned(claim)
    else checkUnowned(this.#database, tenant, sdkSessionId)
  }

  #append(claim: SessionClaim, events: readonly PackedEvent[], turn: 'open' | 'closed' | undefined): void {
    const { uid } = claim
    const end = this.#endOf(uid)
    const { session } = end
    const bad = badAppend(events, end.last, (number) => this.#eventId(session, number))
    if (bad !== undefined) {
      this.#owned(claim)
      throw new StoreError(`session ${uid}: ${bad}`)
    }
    const own = valuesOf(claim)
    let changed = 0
    for (const { number, id, type, at, json, packed = null, bytes = null } of events) {
      if (number <= end.last) {
        const change = `UPDATE events SET (type, at, json, packed, bytes) = (?, ?, ?, ?, ?)
          WHERE session = (SELECT id FROM sessions WHERE ${OWNED}) AND number = ?`
        changed += this.#database.run(change, type, at, json, packed, bytes, ...own, number)
        continue
      }
      const insert = `INSERT INTO events (session, number, event_id, type, at, json, packed, bytes)
        SELECT id, ?, ?, ?, ?, ?, ?, ? FROM sessions WHERE ${OWNED}`
      changed += this.#database.run(insert, number, id, type, at, json, packed, bytes, ...own)
      end.last = number
    }
    if (turn !== undefined) {
      const set = `UPDATE sessions SET open_turn = ? WHERE ${OWNED}`
      changed += this.#database.run(set, turn === 'open' ? 1 : 0, ...own)
    }
    const wanted = events.length + (turn === undefined ? 0 : 1)
    if ((changed < wanted || wanted === 0) && this.#owned(claim) === undefined) throw notThere(uid)
  }

  #endOf(uid: string): EventEnd {
    const known = this.#ends.get(uid)
    if (known !== undefined) return known
    const end = this.#database.one<EventEnd>(
      `SELECT id AS session, coalesce((SELECT max(number) FROM events WHERE session = sessions.id), 0) AS last
       FROM sessions WHERE uid = ?`,
      uid,
    )
    if (end === undefined) throw notThere(uid)
    this.#ends.note(uid, end)
    return end
  }

  #idOf(uid: string): number | undefined {
    return this.#database.one<{ id: number }>('SELECT id FROM sessions WHERE uid = ?', uid)?.id
  }

  #lastOf(session: number): number {
    return this.#database.one<{ last: number }>(
      'SELECT coalesce(max(number), 0) AS last FROM events WHERE session = ?',
      session,
    )?.last as number
  }

  #eventId(session: number, number: number): string | undefined {
    const sql = 'SELECT event_id AS id FROM events WHERE session = ? AND number = ?'
    return this.#database.one<{ id: string }>(sql, session, number)?.id
  }

  #transcript(key: TranscriptKey): number | undefined {
    return this.#database.one<{ id: number }>(
      'SELECT id FROM transcripts WHERE tenant = ? AND project = ? AND sdk_session_id = ? AND subpath = ?',
      ...transcriptId(key),
    )?.id
  }
}

const transcriptId = ({
  tenant,
  project,
  sdkSessionId,
  subpath = '',
}: TranscriptKey): [string, string, string, string] => [tenant, escape(project), escape(sdkSessionId), escape(subpath)]
