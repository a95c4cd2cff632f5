import { FencedError, StoreError } from '../errors.ts'
import { toRecord } from './session-rows.ts'
import type { SessionRow } from './session-rows.ts'
import type { SqliteDatabase } from './sqlite-database.ts'
import type { ClaimedSession, SessionClaim } from './store.ts'

/** No host of this id is there. */
const IS_GONE = 'NOT EXISTS (SELECT 1 FROM hosts WHERE hosts.id = sessions.owner)'

const CLAIMED = '*, (SELECT coalesce(max(number), 0) FROM events WHERE session = sessions.id) AS last_event'

type ClaimRow = SessionRow & { last_event: number; open_turn: number }

/** What a statement needs to change one session of its owner. */
export const OWNED = 'uid = ? AND owner = ? AND fence = ?'

/** The values for it. */
export const valuesOf = ({ uid, owner, fence }: SessionClaim): [string, number, number] => [uid, Number(owner), fence]

export function register(database: SqliteDatabase, place: string): string {
  database.run('DELETE FROM hosts WHERE place = ?', place)
  const [host] = database.all<{ id: number }>('INSERT INTO hosts (place) VALUES (?) RETURNING id', place)
  return String(host?.id)
}

export function claimSession(database: SqliteDatabase, uid: string, owner: string): ClaimedSession {
  const host = Number(owner)
  const [row] = database.all<ClaimRow>(
    `UPDATE sessions SET owner = ?, fence = fence + 1 WHERE uid = ? AND (owner = ? OR ${IS_GONE})
     AND EXISTS (SELECT 1 FROM hosts WHERE id = ?) RETURNING ${CLAIMED}`,
    host,
    uid,
    host,
    host,
  )
  if (row === undefined) throw refusal(database, uid) ?? notThere(uid)
  return toClaimed(row)
}

export function release(database: SqliteDatabase, claim: SessionClaim): void {
  database.run(`UPDATE sessions SET owner = NULL WHERE ${OWNED}`, ...valuesOf(claim))
}

export function adoptSessions(database: SqliteDatabase, owner: string, limit: number): ClaimedSession[] {
  const host = Number(owner)
  return database
    .all<ClaimRow>(
      `UPDATE sessions SET owner = ?, fence = fence + 1
       WHERE id IN (SELECT id FROM sessions WHERE open_turn = 1 AND ${IS_GONE} ORDER BY id LIMIT ?)
       AND EXISTS (SELECT 1 FROM hosts WHERE id = ?) RETURNING ${CLAIMED}`,
      host,
      limit,
      host,
    )
    .map(toClaimed)
}

/** Why a write of this session has changed nothing; undefined if it is not there. */
export function refusal(database: SqliteDatabase, uid: string): FencedError | undefined {
  const row = database.one<{ owner: number | null }>('SELECT owner FROM sessions WHERE uid = ?', uid)
  return row && new FencedError(uid, row.owner === null ? undefined : String(row.owner))
}

/** Throws FencedError while a host owns the session that has this conversation. */
export function checkUnowned(database: SqliteDatabase, tenant: string, sdkSessionId: string): void {
  const owned = database.one<{ uid: string; owner: number }>(
    'SELECT uid, owner FROM sessions WHERE sdk_session_id = ? AND tenant = ? AND owner IS NOT NULL',
    sdkSessionId,
    tenant,
  )
  if (owned !== undefined) throw new FencedError(owned.uid, String(owned.owner))
}

export const notThere = (uid: string): StoreError => new StoreError(`session ${uid} is not in the store`)

function toClaimed(row: ClaimRow): ClaimedSession {
  const claim = { uid: row.uid, owner: String(row.owner), fence: row.fence }
  return { claim, record: toRecord(row), lastEvent: row.last_event, openTurn: row.open_turn === 1 }
}
