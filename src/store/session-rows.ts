import type { SessionRecord } from './store.ts'
import { usageOfText, usageText } from './usage-json.ts'

/** A session as a row of the table. */
export interface SessionRow {
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
  owner: number | null
  fence: number
}

/** The columns that `put` replaces. */
export const FACTS = 'agent, cwd, owns_cwd, sdk_session_id, begun, turns, usage, created_at, last_used_at'

/** The values of those columns. */
export const factsOf = (record: SessionRecord): (string | number | null)[] => [
  record.agent,
  record.cwd ?? null,
  record.ownsCwd ? 1 : 0,
  record.sdkSessionId ?? null,
  record.begun ? 1 : 0,
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
  ownsCwd: row.owns_cwd === 1,
  sdkSessionId: row.sdk_session_id ?? undefined,
  begun: row.begun === 1,
  turns: row.turns,
  usage: usageOfText(row.usage),
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
})
