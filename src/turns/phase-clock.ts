import type { Clock } from '../clock.ts'
import type { PhaseTimes, TurnPhase, TurnPhaseName } from '../store/store.ts'
import type { TurnSteps } from './turn-steps.ts'

/** What a phase is about. A function: it changes without an event, and is asked when the phase is read. */
export type Detail = string | (() => string | undefined) | undefined

/** Tools of a turn whose times are kept apart; a hostile agent could name any number. */
const MAX_TOOLS = 50

const OTHERS = 'other'

const LONGEST_DETAIL = 128

/** The phase of a turn, since when it is in it, and the time that it has spent in each. */
export class PhaseClock {
  readonly #clock: Clock
  readonly #steps: TurnSteps | undefined
  readonly #startedAt: number
  readonly #times: PhaseTimes = {
    queued: 0,
    starting: 0,
    prompt: 0,
    model: 0,
    tool: 0,
    permission: 0,
    reader: 0,
    saving: 0,
  }
  readonly #tools = new Map<string, number>()
  #name: TurnPhaseName = 'queued'
  #detail: Detail
  #enteredAt: number
  #since: number
  #endedAt: number | undefined

  constructor(clock: Clock, steps?: TurnSteps) {
    this.#clock = clock
    this.#steps = steps
    this.#startedAt = clock.now()
    this.#enteredAt = this.#startedAt
    this.#since = clock.wall()
  }

  get name(): TurnPhaseName {
    return this.#name
  }

  get now(): TurnPhase {
    const detail = typeof this.#detail === 'function' ? this.#detail() : this.#detail
    const phase = { name: this.#name, since: this.#since }
    return detail === undefined ? phase : { ...phase, detail: detail.slice(0, LONGEST_DETAIL) }
  }

  /** Milliseconds since the turn was sent, or until it ended. */
  get totalMs(): number {
    return this.#now - this.#startedAt
  }

  /** Milliseconds spent in each phase, the present one included. Their sum is `totalMs`. */
  get times(): PhaseTimes {
    return { ...this.#times, [this.#name]: this.#times[this.#name] + this.#elapsed }
  }

  /** Milliseconds by tool. */
  get tools(): Record<string, number> {
    const tools = new Map(this.#tools)
    if (this.#name === 'tool') add(tools, this.now.detail, this.#elapsed)
    return Object.fromEntries(tools)
  }

  /** Does nothing if the turn is in this phase already, or has ended. */
  enter(name: TurnPhaseName, detail: Detail): void {
    if (this.#endedAt !== undefined || (name === this.#name && detail === this.#detail)) return
    this.#add()
    this.#name = name
    this.#detail = detail
    this.#since = this.#clock.wall()
  }

  /** The turn has ended: its times stay. */
  end(): void {
    if (this.#endedAt !== undefined) return
    this.#endedAt = this.#clock.now()
    this.#keep(this.#elapsed)
  }

  get #now(): number {
    return this.#endedAt ?? this.#clock.now()
  }

  get #elapsed(): number {
    return this.#now - this.#enteredAt
  }

  #add(): void {
    const elapsed = this.#elapsed
    this.#times[this.#name] += elapsed
    if (this.#name === 'tool') add(this.#tools, this.now.detail, elapsed)
    this.#keep(elapsed)
    this.#enteredAt += elapsed
  }

  #keep(durationMs: number): void {
    if (this.#steps === undefined || durationMs <= 0) return
    const { name, detail } = this.now
    const startMs = this.#enteredAt - this.#startedAt
    this.#steps.add({ type: 'phase', name, ...(detail === undefined ? {} : { detail }), startMs, durationMs })
  }
}

function add(tools: Map<string, number>, name = OTHERS, ms: number): void {
  const key = tools.has(name) || tools.size < MAX_TOOLS ? name : OTHERS
  tools.set(key, (tools.get(key) ?? 0) + ms)
}
