import type { ClaimedSession, SessionRecord } from '../store.ts'
import { usageOfText, usageText } from '../usage-json.ts'
import { escape, unescape } from './text.ts'

/** A session as a row of the table. */
export interface SessionRow {
  tenant: string
  key: string
  uid: string
  agent: string
  cwd: string | null
  owns_cwd: boolean
  sdk_session_id: string | null
  begun: boolean
  turns: number
  usage: string | null
  created_at: number
  last_used_at: number
}

export const COLUMNS =
  'tenant, key, uid, agent, cwd, owns_cwd, sdk_session_id, begun, turns, usage, created_at, last_used_at'

/** The columns that `put` replaces. */
export const FACTS = 'agent, cwd, owns_cwd, sdk_session_id, begun, turns, usage, created_at, last_used_at'

/** The values of those columns. */
export const factsOf = (record: SessionRecord): unknown[] => [
  record.agent,
  record.cwd ?? null,
  record.ownsCwd,
  record.sdkSessionId === undefined ? null : escape(record.sdkSessionId),
  record.begun,
  record.turns,
  usageText(record.usage),
  record.createdAt,
  record.lastUsedAt,
]

export const toRecord = (row: SessionRow): SessionRecord => ({
  tenant: row.tenant,
  key: row.key,
  uid: row.uid,
  agent: row.agent,
  cwd: row.cwd ?? undefined,
  ownsCwd: row.owns_cwd,
  sdkSessionId: row.sdk_session_id === null ? undefined : unescape(row.sdk_session_id),
  begun: row.begun,
  turns: row.turns,
  usage: usageOfText(row.usage),
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
})

/** What a claim returns beside the record. */
export interface ClaimRow extends SessionRow {
  owner: number
  fence: number
  last_number: number
  open_turn: boolean
}

export const CLAIM_COLUMNS: string = `${COLUMNS}, owner, fence, last_number, open_turn`.replaceAll(/\w+/g, 's.$&')

export const toClaimed = (row: ClaimRow): ClaimedSession => ({
  claim: { uid: row.uid, owner: String(row.owner), fence: row.fence },
  record: toRecord(row),
  lastEvent: row.last_number,
  openTurn: row.open_turn,
})
