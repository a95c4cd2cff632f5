import type { Clock } from '../clock.ts'
import type { OldestWaiter, TurnInfo, WaitStats } from '../events.ts'
import type { SessionRef } from '../store/store.ts'
import type { RunningTurn } from '../turns/running-turn.ts'

/** A turn that waits for the one before it in its session waits for no place. */
const OWN_SESSION = 'session'

/** The turns of a pool that have not ended, oldest first. */
export class TurnList {
  readonly #clock: Clock
  readonly #turns = new Map<RunningTurn, () => SessionRef>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Adds a turn, until it ends. Called again when its session is known. */
  add(turn: RunningTurn, session: () => SessionRef): void {
    if (turn.state === 'ended') return
    if (!this.#turns.has(turn)) void turn.ended.then(() => this.#turns.delete(turn))
    this.#turns.set(turn, session)
  }

  /** What there is to say of each. */
  get all(): TurnInfo[] {
    const now = this.#clock.wall()
    return Array.from(this.#turns, ([turn, session]) => {
      const { tenant, key, agent } = session()
      const { id, workerId: worker, warmth, phases } = turn
      const { now: phase, times, tools, steps, totalMs } = phases
      const startedAt = Math.round(now - totalMs)
      return {
        id,
        tenant,
        session: key,
        agent,
        worker,
        warmth,
        phase,
        phases: times,
        tools,
        steps: steps.slice(),
        startedAt,
      }
    })
  }

  /** Turns that wait for a place, and those that wait for the turn before them, by reason. */
  get waits(): WaitStats {
    const now = this.#clock.wall()
    const byReason: Record<string, number> = {}
    let oldest: OldestWaiter | undefined
    for (const [turn, session] of this.#turns) {
      if (turn.phases.name !== 'queued') continue
      const { detail: reason, since } = turn.phases.now
      if (reason === undefined) continue
      byReason[reason] = (byReason[reason] ?? 0) + 1
      const waitMs = Math.max(0, now - since)
      if (reason === OWN_SESSION || waitMs <= (oldest?.waitMs ?? -1)) continue
      const { tenant, agent } = session()
      oldest = { tenant, agent, reason, waitMs }
    }
    return { byReason, oldest }
  }
}
