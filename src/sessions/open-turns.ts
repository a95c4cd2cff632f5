import type { Clock } from '../clock.ts'
import { activityOfOpenTurn } from '../journal/activity.ts'
import { Journal } from '../journal/journal.ts'
import type { ClaimedSession, Store } from '../store/store.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import { recordActivity } from '../usage/usage.ts'
import { Ownership } from './ownership.ts'

const PAGE = 100

export interface OpenTurnsContext {
  store: Store
  clock: Clock
  ledger: UsageLedger
  /** The id of this host. */
  owner: string
}

/** Takes over the sessions whose host died in a turn, says in each that the turn was cut short, and notes what it used. */
export async function adoptOpenTurns(context: OpenTurnsContext): Promise<void> {
  for (;;) {
    const adopted = await context.store.adopt(context.owner, PAGE)
    for (const session of adopted) await closeTurn(session, context)
    if (adopted.length < PAGE) return
  }
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
