import type { Clock } from '../clock.ts'
import { SessionElsewhereError } from '../errors.ts'
import type { SessionIdentity } from './session-record.ts'

/** A session, for the host that has it. */
export type SessionAsked = Pick<SessionIdentity, 'tenant' | 'key' | 'uid'>

/** The other hosts of the store, as sessions need them. */
export interface SessionPeers {
  /**
   * Asks the host of a session to give it back, or to stop its turn. `busy`: a turn runs. `refused`: that host does not do it, or cannot be
   * reached. Rejects with StoreError.
   */
  ask(question: SessionAsked & { do: 'release' | 'interrupt' }): Promise<'done' | 'busy' | 'refused'>
}

/** Does the work. If the session is at rest at another host, that one gives it back first. Rejects as the work does. */
export async function fromOwner<T>(
  { tenant, key, uid }: SessionAsked,
  peers: SessionPeers | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof SessionElsewhereError) || peers === undefined) throw error
    // Also if it did not: it may have given the session back meanwhile.
    await peers.ask({ do: 'release', tenant, key, uid })
    return await work()
  }
}

/** Between two looks at a session whose turn at another host has not ended, in milliseconds. */
const LOOK_AGAIN_MS = 250

interface Waiting {
  peers: SessionPeers | undefined
  clock: Clock
  /** `interrupt`: the turn at the other host is stopped. */
  onBusy: 'reject' | 'queue' | 'interrupt'
  /** True if the caller has stopped waiting. */
  isOver: () => boolean
}

/** Claims a session for a turn, once the turn that it runs at another host has ended. Rejects as `own` does. */
export async function ownInTurn(
  { tenant, key, uid }: SessionAsked,
  own: () => Promise<void>,
  { peers, clock, onBusy, isOver }: Waiting,
): Promise<void> {
  for (let what: 'release' | 'interrupt' = onBusy === 'interrupt' ? 'interrupt' : 'release'; ; what = 'release') {
    try {
      return await own()
    } catch (error) {
      if (!(error instanceof SessionElsewhereError) || peers === undefined || onBusy === 'reject' || isOver())
        throw error
      if ((await peers.ask({ do: what, tenant, key, uid })) === 'refused') throw error
      await new Promise<void>((resolve) => void clock.after(LOOK_AGAIN_MS, resolve, { keepAlive: true }))
    }
  }
}
