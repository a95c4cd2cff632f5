import type { SessionRecord, SessionInfo } from '../store/store.ts'
import { NOTHING_USED } from '../usage/usage.ts'

/** What callers are told of a session. `runningMs`: for how long the turn that runs has been at work. */
export const infoOf = (
  { tenant, key, agent, cwd, sdkSessionId, turns, usage, createdAt, lastUsedAt }: SessionRecord,
  state: SessionInfo['state'],
  runningMs = 0,
): SessionInfo => ({
  tenant,
  key,
  agent,
  cwd,
  sdkSessionId,
  state,
  turns,
  usage: usage?.total ?? NOTHING_USED,
  activeMs: (usage?.activeMs ?? 0) + runningMs || undefined,
  createdAt,
  lastUsedAt,
})
