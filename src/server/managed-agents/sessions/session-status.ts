import type { Session, SessionEvent } from '../../../index.ts'

/** A session is never `terminated`: it can always be sent another message. */
export type SessionStatus = 'idle' | 'running' | 'rescheduling' | 'terminated'

const STATUSES = {
  'session.status_running': 'running',
  'session.status_rescheduled': 'rescheduling',
  'session.status_idle': 'idle',
} as const

type Status = Extract<SessionEvent, { type: keyof typeof STATUSES }>

/** The events that say what the session does, newest first. */
export async function lastStatuses(session: Session, limit: number): Promise<Status[]> {
  const statuses = await session.history({ types: Object.keys(STATUSES), descending: true, limit })
  return statuses.map(({ event }) => event as Status)
}

/** The event that says what the session does. */
export async function lastStatus(session: Session): Promise<Status | undefined> {
  const [last] = await lastStatuses(session, 1)
  return last
}

/** Not idle from the beginning of a turn to its end, less the time in which it waits for the client. */
export async function statusOf(session: Session): Promise<SessionStatus> {
  const last = await lastStatus(session)
  return last === undefined ? 'idle' : STATUSES[last.type]
}
