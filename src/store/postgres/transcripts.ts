import { randomUUID } from 'node:crypto'
import { FencedError } from '../../errors.ts'
import type { SessionClaim, Store, TranscriptEntry, TranscriptInfo, TranscriptKey } from '../store.ts'
import { OWNED } from './claims.ts'
import type { Claims } from './claims.ts'
import { LONG_QUERY_MS } from './connections.ts'
import type { Connections } from './connections.ts'
import { escape, unescape } from './text.ts'

/** Lets a write through whose claim is valid, or whose session is not there. The row is locked, so that a claim waits. */
const CLAIMED = `
held AS (SELECT 1 FROM pool.sessions WHERE ${OWNED} FOR SHARE),
allowed AS (
  SELECT 1 WHERE EXISTS (SELECT 1 FROM held) OR NOT EXISTS (SELECT 1 FROM pool.sessions WHERE uid = $1))`

/** Lets a write through while no host owns the session that has the conversation. */
const UNCLAIMED = `
held AS (SELECT owner FROM pool.sessions WHERE tenant = $1 AND sdk_session_id = $2 AND $3 FOR SHARE),
allowed AS (SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM held WHERE owner IS NOT NULL))`

/** A batch that was repeated after an unknown outcome adds nothing if it has arrived. */
const appendSql = (guard: string): string => `
WITH ${guard},
t AS (
  INSERT INTO pool.transcripts (tenant, project, sdk_session_id, subpath, written_at, batch)
  SELECT $4, $5, $6, $7, $8, $9 FROM allowed
  ON CONFLICT (tenant, project, sdk_session_id, subpath)
  DO UPDATE SET written_at = excluded.written_at, batch = excluded.batch WHERE transcripts.batch <> excluded.batch
  RETURNING id),
added AS (
  INSERT INTO pool.transcript_entries (transcript, uuid, json)
  SELECT t.id, e.uuid, e.json FROM t, unnest($10::text[], $11::text[]) WITH ORDINALITY AS e (uuid, json, place)
  ORDER BY e.place ON CONFLICT DO NOTHING)
SELECT EXISTS (SELECT 1 FROM allowed) AS allowed`

const removeSql = (guard: string): string => `
WITH ${guard},
removed AS (
  DELETE FROM pool.transcripts WHERE tenant = $4 AND project = $5 AND sdk_session_id = $6 AND $7 IN ('', subpath)
  AND EXISTS (SELECT 1 FROM allowed))
SELECT EXISTS (SELECT 1 FROM allowed) AS allowed`

/** One that was left where these go is older. Of several that go there the newest does. */
const moveSql = (guard: string): string => `
WITH ${guard},
moved AS (
  SELECT DISTINCT ON (subpath) id, subpath FROM pool.transcripts
  WHERE tenant = $4 AND sdk_session_id = $5 AND project <> $6 AND EXISTS (SELECT 1 FROM allowed)
  ORDER BY subpath, written_at DESC, id DESC),
older AS (
  DELETE FROM pool.transcripts WHERE tenant = $4 AND sdk_session_id = $5
  AND subpath IN (SELECT subpath FROM moved) AND id NOT IN (SELECT id FROM moved) RETURNING id),
changed AS (
  UPDATE pool.transcripts SET project = $6 WHERE id IN (SELECT id FROM moved) AND (SELECT count(*) FROM older) >= 0)
SELECT EXISTS (SELECT 1 FROM allowed) AS allowed`

const checkSql = (guard: string): string => `WITH ${guard} SELECT EXISTS (SELECT 1 FROM allowed) AS allowed`

const idOf = ({ tenant, project, sdkSessionId, subpath = '' }: TranscriptKey): [string, string, string, string] => [
  tenant,
  escape(project),
  escape(sdkSessionId),
  escape(subpath),
]

/** The copies of transcripts. */
export class Transcripts {
  readonly #connections: Connections
  readonly #claims: Claims

  constructor(connections: Connections, claims: Claims) {
    this.#connections = connections
    this.#claims = claims
  }

  append(
    key: TranscriptKey,
    entries: readonly TranscriptEntry[],
    at: number,
    claim: SessionClaim | undefined,
  ): Promise<void> {
    if (entries.length === 0) return this.#write('check', checkSql, key, [], claim)
    const uuids = entries.map(({ uuid }) => (uuid === undefined ? null : escape(uuid)))
    const values = [...idOf(key), at, randomUUID(), uuids, entries.map(({ json }) => json)]
    return this.#write('append', appendSql, key, values, claim)
  }

  remove(key: TranscriptKey, claim: SessionClaim | undefined): Promise<void> {
    return this.#write('remove', removeSql, key, idOf(key), claim)
  }

  async move(tenant: string, sdkSessionId: string, project: string, claim: SessionClaim | undefined): Promise<void> {
    const values = [tenant, escape(sdkSessionId), escape(project)]
    await this.#write('move', moveSql, { tenant, sdkSessionId }, values, claim)
  }

  async load(key: TranscriptKey): Promise<string[] | undefined> {
    const rows = await this.#connections.read<{ json: string | null }>({
      text: `SELECT e.json FROM pool.transcripts t LEFT JOIN pool.transcript_entries e ON e.transcript = t.id
        WHERE t.tenant = $1 AND t.project = $2 AND t.sdk_session_id = $3 AND t.subpath = $4 ORDER BY e.id`,
      values: idOf(key),
      timeoutMs: LONG_QUERY_MS,
    })
    return rows.length === 0 ? undefined : rows.flatMap(({ json }) => json ?? [])
  }

  async list(tenant: string, project: string): Promise<TranscriptInfo[]> {
    const rows = await this.#connections.read<{ id: string; at: number }>({
      text: `SELECT sdk_session_id AS id, written_at AS at FROM pool.transcripts
        WHERE tenant = $1 AND project = $2 AND subpath = ''`,
      values: [tenant, escape(project)],
    })
    return rows.map(({ id, at }) => ({ sdkSessionId: unescape(id), writtenAt: at }))
  }

  async subpaths(key: TranscriptKey): Promise<string[]> {
    const rows = await this.#connections.read<{ subpath: string }>({
      text: `SELECT subpath FROM pool.transcripts
        WHERE tenant = $1 AND project = $2 AND sdk_session_id = $3 AND subpath <> ''`,
      values: idOf(key).slice(0, 3),
    })
    return rows.map(({ subpath }) => unescape(subpath))
  }

  async size(tenant: string, sdkSessionId: string): Promise<number> {
    const [row] = await this.#connections.read<{ size: number }>({
      text: `SELECT coalesce(sum(octet_length(e.json)), 0)::bigint AS size
        FROM pool.transcripts t JOIN pool.transcript_entries e ON e.transcript = t.id
        WHERE t.tenant = $1 AND t.sdk_session_id = $2`,
      values: [tenant, escape(sdkSessionId)],
      timeoutMs: LONG_QUERY_MS,
    })
    return row?.size ?? 0
  }

  async leftovers({ tenant, before, limit }: Parameters<Store['leftoverTranscripts']>[0]): Promise<TranscriptKey[]> {
    const rows = await this.#connections.read<{ tenant: string; project: string; id: string }>({
      text: `SELECT t.tenant, t.project, t.sdk_session_id AS id FROM pool.transcripts t
        WHERE ($1::text IS NULL OR t.tenant = $1) AND NOT EXISTS (
          SELECT 1 FROM pool.sessions s WHERE s.sdk_session_id = t.sdk_session_id AND s.tenant = t.tenant)
        GROUP BY t.tenant, t.project, t.sdk_session_id
        HAVING $2::bigint IS NULL OR max(t.written_at) < $2 LIMIT $3`,
      values: [tenant ?? null, before === undefined || before === Infinity ? null : Math.ceil(before), limit],
      timeoutMs: LONG_QUERY_MS,
    })
    return rows.map(({ id, project, ...rest }) => ({ ...rest, project: unescape(project), sdkSessionId: unescape(id) }))
  }

  async #write(
    name: string,
    sql: (guard: string) => string,
    key: Omit<TranscriptKey, 'project'>,
    values: readonly unknown[],
    claim: SessionClaim | undefined,
  ): Promise<void> {
    const attempt = (): Promise<{ allowed: boolean }[]> =>
      this.#connections.once<{ allowed: boolean }>({
        name: `${name} transcript${claim === undefined ? ' unclaimed' : ''}`,
        text: sql(claim === undefined ? UNCLAIMED : CLAIMED),
        values: [
          ...(claim === undefined ? [key.tenant, escape(key.sdkSessionId), true] : this.#claims.valuesOf(claim)),
          ...values,
        ],
        timeoutMs: LONG_QUERY_MS,
      })
    const recover = claim === undefined ? {} : { recover: () => this.#claims.raise([claim]) }
    const [answer] = await this.#connections.persist(attempt, recover)
    if (answer?.allowed !== true) throw await this.#refusal(key, claim)
  }

  async #refusal(
    { tenant, sdkSessionId }: Omit<TranscriptKey, 'project'>,
    claim: SessionClaim | undefined,
  ): Promise<FencedError> {
    if (claim !== undefined) return (await this.#claims.refusal(claim.uid)) ?? new FencedError(claim.uid, undefined)
    const [row] = await this.#connections.read<{ uid: string; owner: number | null }>({
      text: 'SELECT uid, owner FROM pool.sessions WHERE tenant = $1 AND sdk_session_id = $2 AND owner IS NOT NULL',
      values: [tenant, escape(sdkSessionId)],
    })
    const owner = row?.owner ?? undefined
    return new FencedError(row?.uid ?? sdkSessionId, owner === undefined ? undefined : String(owner))
  }
}
