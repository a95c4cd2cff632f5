import type { Removal, RetentionReason } from '../events.ts'
import type { RetentionRule } from '../options/retention.ts'

/** One session, as far as it matters for what is kept. */
export interface KeptSession {
  tenant: string
  key: string
  agent: string
  uid: string
  /** Milliseconds since the epoch. */
  lastUsedAt: number
  /** Its events, transcripts, notes and workspace; 0 where no rule asks. */
  bytes: number
  /** It has a process or a turn: it counts, and stays. */
  live: boolean
}

/** What bounds whole sessions. */
type SessionRule = Pick<RetentionRule, 'maxAgeMs' | 'maxSessions' | 'maxSizeBytes'>

/** The rules for each tenant and for each of its agents. */
export interface RetentionRules {
  ofTenant: (tenant: string) => SessionRule
  ofAgent: (agent: string) => SessionRule | undefined
}

/** The sessions to remove of those under one rule: first the too old, then the longest unused while they are too many or too large. */
function outlived(sessions: readonly KeptSession[], rule: SessionRule, now: number): Map<string, RetentionReason> {
  const due = new Map<string, RetentionReason>()
  let count = sessions.length
  let bytes = sessions.reduce((sum, session) => sum + session.bytes, 0)
  for (const session of sessions.toSorted((a, b) => a.lastUsedAt - b.lastUsedAt)) {
    if (session.live) continue
    const old = now - session.lastUsedAt > rule.maxAgeMs
    const reason = old ? 'age' : count > rule.maxSessions ? 'count' : bytes > rule.maxSizeBytes ? 'size' : undefined
    if (reason === undefined) continue
    due.set(session.uid, reason)
    count -= 1
    bytes -= session.bytes
  }
  return due
}

/** The sessions to remove, longest unused first. Live ones stay. */
export function dueForRemoval(sessions: readonly KeptSession[], rules: RetentionRules, now: number): Removal[] {
  const due = new Map<string, RetentionReason>()
  for (const ofTenant of Map.groupBy(sessions, ({ tenant }) => tenant).values()) {
    const [{ tenant } = { tenant: '' }] = ofTenant
    for (const [uid, reason] of outlived(ofTenant, rules.ofTenant(tenant), now)) due.set(uid, reason)
    for (const [agent, ofAgent] of Map.groupBy(ofTenant, (session) => session.agent)) {
      const rule = rules.ofAgent(agent)
      const left = ofAgent.filter(({ uid }) => !due.has(uid))
      if (rule !== undefined) for (const [uid, reason] of outlived(left, rule, now)) due.set(uid, reason)
    }
  }
  return sessions
    .flatMap(({ tenant, key, agent, uid, lastUsedAt, bytes }) => {
      const reason = due.get(uid)
      return reason === undefined ? [] : [{ tenant, key, agent, reason, lastUsedAt, bytes }]
    })
    .toSorted((a, b) => a.lastUsedAt - b.lastUsedAt)
}
