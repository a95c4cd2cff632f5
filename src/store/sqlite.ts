import type { SQLInputValue } from 'node:sqlite'
import { StoreError } from '../errors.ts'
import { EVENTS_PAGE_BYTES, badAppend } from './events.ts'
import { EventEnds } from './event-ends.ts'
import type { EventEnd } from './event-ends.ts'
import { SqliteDatabase } from './sqlite-database.ts'
import type { OpenOptions } from './sqlite-database.ts'
import type {
  EventRange,
  EventTotals,
  SessionPage,
  SessionRecord,
  Store,
  StoredEvent,
  TranscriptEntry,
  TranscriptInfo,
  TranscriptKey,
  UsageRecord,
} from './store.ts'
import { storedUsage, usageOfStored } from './usage-json.ts'
import type { StoredUsage } from './usage-json.ts'

interface SessionRow {
  id: number
  tenant: string
  key: string
  uid: string
  agent: string
  cwd: string | null
  owns_cwd: number
  sdk_session_id: string | null
  begun: number
  turns: number
  usage: string | null
  created_at: number
  last_used_at: number
}

const usageText = (usage: UsageRecord | undefined): string | null =>
  usage === undefined ? null : JSON.stringify(storedUsage(usage))

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
  usage: row.usage === null ? undefined : usageOfStored(JSON.parse(row.usage) as StoredUsage),
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
})

/** SQLite ends text at NUL and has no lone surrogates. JSON has words for both; what the pool names itself needs none. */
const escape = (text: string): string => JSON.stringify(text).slice(1, -1)
const unescape = (text: string): string => JSON.parse(`"${text}"`) as string

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

  put(record: SessionRecord): Promise<void> {
    const { tenant, key, uid, agent, cwd, ownsCwd, sdkSessionId, begun, turns, usage, createdAt, lastUsedAt } = record
    const facts = [
      agent,
      cwd ?? null,
      ownsCwd ? 1 : 0,
      sdkSessionId ?? null,
      begun ? 1 : 0,
      turns,
      usageText(usage),
      createdAt,
      lastUsedAt,
    ]
    return this.#database.write(() => {
      this.#remove('tenant = ? AND key = ? AND uid <> ?', tenant, key, uid)
      this.#database.run(
        `INSERT INTO sessions
         (tenant, key, uid, agent, cwd, owns_cwd, sdk_session_id, begun, turns, usage, created_at, last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (tenant, key) DO UPDATE SET
         (agent, cwd, owns_cwd, sdk_session_id, begun, turns, usage, created_at, last_used_at) = (excluded.agent, excluded.cwd,
         excluded.owns_cwd, excluded.sdk_session_id, excluded.begun, excluded.turns, excluded.usage, excluded.created_at, excluded.last_used_at)`,
        tenant,
        key,
        uid,
        ...facts,
      )
    })
  }

  touch({ tenant, key, uid, turns, usage, lastUsedAt }: Parameters<Store['touch']>[0]): Promise<void> {
    const used = usageText(usage)
    return this.#database.write(() =>
      this.#database.run(
        'UPDATE sessions SET turns = ?, usage = ?, last_used_at = ? WHERE tenant = ? AND key = ? AND uid = ?',
        turns,
        used,
        lastUsedAt,
        tenant,
        key,
        uid,
      ),
    )
  }

  remove(tenant: string, key: string): Promise<void> {
    return this.#database.write(() => this.#remove('tenant = ? AND key = ?', tenant, key))
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

  appendEvents(uid: string, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void> {
    const isOneStatement = events.length === 1 && turn === undefined
    return this.#database.write(() => this.#append(uid, events, turn), { isOneStatement })
  }

  async readEvents(uid: string, range: EventRange): Promise<StoredEvent[]> {
    const { after, before, types, descending, limit, maxBytes = EVENTS_PAGE_BYTES } = range
    const session = this.#idOf(uid)
    if (session === undefined) return []
    const where = new Where().and('session = ?', session).and('number > ?', after).and('number < ?', before)
    where.and('type IN (SELECT value FROM json_each(?))', types === undefined ? undefined : JSON.stringify(types))
    const page: StoredEvent[] = []
    let bytes = 0
    const take = (row: StoredEvent): boolean => {
      page.push({ ...row })
      bytes += Buffer.byteLength(row.json)
      return bytes < maxBytes
    }
    this.#database.some<StoredEvent>(
      take,
      `SELECT number, event_id AS id, type, at, json FROM events ${where.sql}
       ORDER BY number ${descending === true ? 'DESC' : 'ASC'} LIMIT ?`,
      ...where.values,
      limit,
    )
    return page
  }

  async eventTotals(uid: string): Promise<EventTotals> {
    const totals = this.#database.one<EventTotals>(
      `SELECT coalesce(min(number), 0) AS first, coalesce(max(number), 0) AS last, coalesce(sum(octet_length(json)), 0) AS size
       FROM events WHERE session = ?`,
      this.#idOf(uid) ?? null,
    )
    return { first: 0, last: 0, size: 0, ...totals }
  }

  trimEvents(uid: string, before: number): Promise<void> {
    return this.#database.write(() => {
      const session = this.#idOf(uid)
      if (session === undefined) return
      const end = Math.min(before, this.#lastOf(session))
      this.#database.run('DELETE FROM events WHERE session = ? AND number < ?', session, end)
    })
  }

  async openTurns(): Promise<SessionRecord[]> {
    return this.#database.all<SessionRow>('SELECT * FROM sessions WHERE open_turn = 1').map(toRecord)
  }

  appendTranscript(key: TranscriptKey, entries: readonly TranscriptEntry[], at: number): Promise<void> {
    return this.#database.write(() => {
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

  removeTranscript(key: TranscriptKey): Promise<void> {
    const [tenant, project, sdkSessionId, subpath] = transcriptId(key)
    return this.#database.write(() =>
      this.#database.run(
        `DELETE FROM transcripts WHERE tenant = ?1 AND project = ?2 AND sdk_session_id = ?3 AND ?4 IN ('', subpath)`,
        tenant,
        project,
        sdkSessionId,
        subpath,
      ),
    )
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

  /** Removes the session for which this holds; its events go with it. */
  #remove(condition: string, ...values: SQLInputValue[]): void {
    this.#ends.forget()
    this.#database.run(
      `DELETE FROM transcripts WHERE (tenant, sdk_session_id) IN
       (SELECT tenant, sdk_session_id FROM sessions WHERE ${condition})`,
      ...values,
    )
    this.#database.run(`DELETE FROM sessions WHERE ${condition}`, ...values)
  }

  #append(uid: string, events: readonly StoredEvent[], turn: 'open' | 'closed' | undefined): void {
    const end = this.#endOf(uid)
    const { session } = end
    const bad = badAppend(events, end.last, (number) => this.#eventId(session, number))
    if (bad !== undefined) throw new StoreError(`session ${uid}: ${bad}`)
    for (const { number, id, type, at, json } of events) {
      if (number <= end.last) {
        const change = 'UPDATE events SET (type, at, json) = (?, ?, ?) WHERE session = ? AND number = ?'
        this.#database.run(change, type, at, json, session, number)
        continue
      }
      const insert = 'INSERT INTO events (session, number, event_id, type, at, json) VALUES (?, ?, ?, ?, ?, ?)'
      this.#database.run(insert, session, number, id, type, at, json)
      end.last = number
    }
    if (turn === undefined) return
    this.#database.run('UPDATE sessions SET open_turn = ? WHERE id = ?', turn === 'open' ? 1 : 0, session)
  }

  #endOf(uid: string): EventEnd {
    const known = this.#ends.get(uid)
    if (known !== undefined) return known
    const end = this.#database.one<EventEnd>(
      `SELECT id AS session, coalesce((SELECT max(number) FROM events WHERE session = sessions.id), 0) AS last
       FROM sessions WHERE uid = ?`,
      uid,
    )
    if (end === undefined) throw new StoreError(`session ${uid} is not in the store`)
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
