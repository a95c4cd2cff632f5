import type { Clock } from '../clock.ts'
import { activityOfOpenTurn } from '../journal/activity.ts'
import { Journal } from '../journal/journal.ts'
import type { Store } from '../store/store.ts'
import { recordActivity } from '../usage/usage.ts'

/** After a start: says of every turn whose host died that it was cut short, and notes how long it ran. */
export async function closeOpenTurns(store: Store, clock: Clock): Promise<void> {
  for (const session of await store.openTurns()) {
    recordActivity(session, await activityOfOpenTurn(store, session.uid))
    await store.touch(session)
    await new Journal(session.uid, { store, clock, onIdle: () => undefined }).ready()
  }
}
