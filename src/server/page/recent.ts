import type { Clock } from '../../clock.ts'
import type { TurnSummary } from '../../index.ts'
import { ALARMING } from '../../telemetry/log.ts'
import type { PoolListeners } from '../pool-listeners.ts'
import { shownTurn } from './timeline.ts'
import type { Notice, ShownTurn } from './wire.ts'
import { keepNewest } from '../../newest.ts'

const MAX_NOTICES = 200

/** Of all sessions. */
const MAX_TURNS = 1_000

const LONGEST_DETAIL = 500

type Session = Pick<TurnSummary['session'], 'tenant' | 'key'>

/** What happened lately, for an operator who looks afterwards: warnings, and how turns have spent their time. */
export class Recent {
  /** When the server began, in milliseconds since the epoch. */
  readonly startedAt: number
  readonly #clock: Clock
  readonly #notices = new Map<number, Notice>()
  readonly #turns = new Map<string, { session: Session; turn: ShownTurn }>()
  #numbers = 0

  constructor(listeners: Pick<PoolListeners, 'on'>, clock: Clock) {
    this.#clock = clock
    this.startedAt = clock.wall()
    listeners.on('turn.ended', (turn) => this.#ended(turn))
    this.#hearFaults(listeners)
    this.#hearShortages(listeners)
  }

  /** By number, oldest first. */
  get notices(): ReadonlyMap<number, Notice> {
    return this.#notices
  }

  /** The ended turns of a session that are still known, oldest first. */
  turnsOf({ tenant, key }: Session): ShownTurn[] {
    const found: ShownTurn[] = []
    for (const { session, turn } of this.#turns.values())
      if (session.key === key && session.tenant === tenant) found.push(turn)
    return found
  }

  #ended(turn: TurnSummary): void {
    const { tenant, key } = turn.session
    this.#turns.set(turn.id, { session: { tenant, key }, turn: shownTurn(turn) })
    keepNewest(this.#turns, MAX_TURNS)
  }

  #hearFaults(listeners: Pick<PoolListeners, 'on'>): void {
    listeners.on('warning', ({ message, error }) => this.#note('warn', message, { detail: wordsOf(error) }))
    listeners.on('worker.closed', ({ worker, reason, exit, termination }) => {
      if (!ALARMING.has(reason) && termination.left === 0) return
      const { session, tenant, id } = worker
      const about = session === undefined ? {} : { session: { tenant, key: session } }
      this.#note('warn', `worker closed: ${reason}`, {
        detail: `${exit.cause}, ${termination.stage}`,
        worker: id,
        ...about,
      })
    })
    listeners.on('mcp.failed', ({ worker, server, status, error }) =>
      this.#note('warn', `MCP server "${server}" ${status === 'failed' ? 'failed' : 'needs to be signed in to'}`, {
        detail: error,
        worker: worker.id,
      }),
    )
    listeners.on('transcript.copyFailed', ({ session: { tenant, key }, error }) =>
      this.#note('warn', 'the transcript of a session is not safe', { detail: error, session: { tenant, key } }),
    )
    listeners.on('session.restarted', ({ session: { tenant, key } }) =>
      this.#note('warn', 'a session began anew: its transcript was gone', { session: { tenant, key } }),
    )
    listeners.on('orphans.reaped', ({ pids, left }) =>
      this.#note('warn', `${pids.length} processes of hosts that are gone were ended`, {
        detail: left === 0 ? undefined : `${left} could not be ended`,
      }),
    )
  }

  #hearShortages(listeners: Pick<PoolListeners, 'on'>): void {
    listeners.on('memory.pressure', ({ level, from }) =>
      this.#note(level === 'none' ? 'info' : 'warn', `memory pressure: ${level}, after ${from}`),
    )
    listeners.on('store.health', ({ trouble }) =>
      trouble === undefined
        ? this.#note('info', 'the store works again')
        : this.#note('error', `the store fails: ${trouble}`),
    )
    listeners.on('budget.reached', ({ message, worker }) => this.#note('warn', message, { worker }))
  }

  #note(
    level: Notice['level'],
    what: string,
    { detail, ...about }: Pick<Notice, 'session' | 'worker'> & { detail?: string | undefined } = {},
  ): void {
    this.#numbers += 1
    const said = detail === undefined || detail === '' ? {} : { detail: detail.slice(0, LONGEST_DETAIL) }
    this.#notices.set(this.#numbers, { at: this.#now, level, what: what.slice(0, LONGEST_DETAIL), ...said, ...about })
    this.#notices.delete(this.#numbers - MAX_NOTICES)
  }

  get #now(): number {
    return this.#clock.wall()
  }
}

const wordsOf = (error: unknown): string | undefined =>
  error instanceof Error ? error.message : typeof error === 'string' ? error : undefined
