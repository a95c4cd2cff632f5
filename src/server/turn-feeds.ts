import type { CancelTimer, Clock } from '../clock.ts'
import type { SendOptions, Session, TurnInput } from '../index.ts'
import type { PoolListeners } from './pool-listeners.ts'
import { TurnFeed } from './turn-feed.ts'

/** What happens to a turn when its client disconnects. */
export type OnDisconnect = 'detach' | 'interrupt'

/** The same as a grace, in milliseconds: for so long a turn goes on without a reader before it is interrupted. */
export const graceOf = (onDisconnect: OnDisconnect): number => (onDisconnect === 'detach' ? Infinity : 0)

/** How long the end of a turn can be found by a client that comes back, and of how many turns. */
const LINGER_MS = 60_000
const MAX_ENDED = 1_000

/** A turn that has said nothing by then is answered with its stream all the same: a process may take long to start. */
const PATIENCE_MS = 10_000

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/** The turns that this server runs, and ended ones for a minute, so that a client can reconnect to them. */
export class TurnFeeds {
  readonly #clock: Clock
  /** By the id of their turn. */
  readonly #beginning = new Map<string, TurnFeed>()
  readonly #feeds = new Map<string, TurnFeed>()
  readonly #ended = new Map<string, CancelTimer>()

  constructor(listeners: Pick<PoolListeners, 'on'>, clock: Clock) {
    this.#clock = clock
    listeners.on('turn.started', ({ id }) => this.#beginning.get(id)?.noteBegun())
  }

  /** The turn of this session that runs, or ended within the last minute. */
  find(tenant: string, key: string): TurnFeed | undefined {
    return this.#feeds.get(idOf(tenant, key))
  }

  /** Starts a turn that no leaving client ends, unless the server was told so. */
  send(session: Session, input: TurnInput, options: Omit<SendOptions, 'onLeave'> = {}): TurnFeed {
    const turn = session.send(input, { ...options, onLeave: 'detach' })
    const feed = new TurnFeed(turn, session, this.#clock, options.eventId)
    this.#beginning.set(feed.turn.id, feed)
    void feed.begun.then(() => this.#beginning.delete(feed.turn.id))
    const id = idOf(session.tenant, session.key)
    const other = this.#feeds.get(id)
    // While another turn runs this one is refused, and must not hide that one.
    if (other === undefined || other.over) this.#keep(id, feed)
    else void feed.begun.then(() => (feed.failure === undefined ? this.#keep(id, feed) : undefined))
    return feed
  }

  /** Until it is known whether the turn is refused, or 10 s: a status can say so, an answer that has begun cannot. */
  async settled(feed: TurnFeed): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#clock.after(PATIENCE_MS, resolve)
    await Promise.race([feed.begun, promise])
    cancel()
  }

  /** Forgets the ended ones. */
  close(): void {
    for (const cancel of this.#ended.values()) cancel()
    this.#ended.clear()
    this.#feeds.clear()
  }

  #keep(id: string, feed: TurnFeed): void {
    this.#ended.get(id)?.()
    this.#ended.delete(id)
    this.#feeds.set(id, feed)
    void feed.ended.then(() => {
      if (this.#feeds.get(id) !== feed) return
      this.#ended.set(
        id,
        this.#clock.after(LINGER_MS, () => this.#forget(id)),
      )
      const [oldest] = this.#ended.keys()
      if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#forget(oldest)
    })
  }

  #forget(id: string): void {
    this.#ended.get(id)?.()
    this.#ended.delete(id)
    this.#feeds.delete(id)
  }
}
