import type { Clock } from '../clock.ts'
import { activityOfOpenTurn } from '../journal/activity.ts'
import { Journal } from '../journal/journal.ts'
import type { ClaimedSession, HostMember, Store } from '../store/store.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import { recordActivity } from '../usage/usage.ts'
import type { ActiveSession } from './active-session.ts'
import { Ownership } from './ownership.ts'

const PAGE = 100

export interface OpenTurnsContext {
  store: Store
  clock: Clock
  ledger: UsageLedger
  /** This host. */
  member: HostMember
}

/** Takes over the sessions whose host died in a turn, says in each that the turn was cut short, and notes what it used. */
export async function adoptOpenTurns(context: OpenTurnsContext): Promise<void> {
  for (;;) {
    const adopted = await context.store.adopt(context.member.id, PAGE)
    for (const session of adopted) await closeTurn(session, context)
    if (adopted.length < PAGE) return
  }
}

/** Goes on with a session whose host died in its turn: the turn ends, and prompts that have not begun run here. */
export async function takeOver(
  session: ActiveSession,
  { store, ledger }: Pick<OpenTurnsContext, 'store' | 'ledger'>,
): Promise<void> {
  await session.ownFromDead()
  // What cannot be read now is tried again, and told, when the session is resumed.
  await ledger.catchUp(session.record, { resuming: false }).catch(() => false)
  session.live.recordActivity(await activityOfOpenTurn(store, session.record.uid))
  await session.live.touch()
  await session.journal?.takeOver()
}

async function closeTurn(session: ClaimedSession, context: OpenTurnsContext): Promise<void> {
  const { record } = session
  const { store, clock, ledger } = context
  // What cannot be read now is tried again, and told, when the session is resumed.
  await ledger.catchUp(record, { resuming: false }).catch(() => false)
  recordActivity(record, await activityOfOpenTurn(store, record.uid))
  const ownership = new Ownership(record.uid, context, { isStored: true, claimed: session })
  await ownership.write((claim) => store.touch(record, claim))
  const journal = new Journal(record.uid, { store, clock, ownership, onIdle: () => undefined })
  await journal.append([], 'closed')
  await ownership.release()
}
