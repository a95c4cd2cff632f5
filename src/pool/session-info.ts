import type { SessionRecord } from '../store/store.ts'
import type { SessionInfo } from './session.ts'
import { NOTHING_USED } from './usage.ts'

/** What callers are told of a session. */
export const infoOf = (
  { tenant, key, agent, cwd, sdkSessionId, turns, usage, createdAt, lastUsedAt }: SessionRecord,
  state: SessionInfo['state'],
): SessionInfo => ({
  tenant,
  key,
  agent,
  cwd,
  sdkSessionId,
  state,
  turns,
  usage: usage?.total ?? NOTHING_USED,
  createdAt,
  lastUsedAt,
})
