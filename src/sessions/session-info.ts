import type { SessionRecord, SessionInfo, TurnPhase } from '../store/store.ts'
import { NOTHING_USED } from '../usage/usage.ts'

/** What callers are told of a session. `running`: of the turn that runs, for how long it has been at work. */
export const infoOf = (
  { tenant, key, agent, cwd, sdkSessionId, turns, usage, createdAt, lastUsedAt }: SessionRecord,
  state: SessionInfo['state'],
  running?: { activeMs: number | undefined; phase: TurnPhase },
): SessionInfo => ({
  tenant,
  key,
  agent,
  cwd,
  sdkSessionId,
  state,
  turns,
  usage: usage?.total ?? NOTHING_USED,
  activeMs: (usage?.activeMs ?? 0) + (running?.activeMs ?? 0) || undefined,
  ...(running === undefined ? {} : { phase: running.phase }),
  createdAt,
  lastUsedAt,
})
