import type { DepartureReason } from '../worker/worker.ts'
import type { PoolEmitter } from './events.ts'
import type { Warmth } from './turn.ts'

/** What happened since the pool began. Only ever goes up. */
export interface Totals {
  turnsByWarmth: Record<Warmth, number>
  turnsByOutcome: Record<string, number>
  refusedByReason: Record<string, number>
  starts: number
  departuresByReason: Partial<Record<DepartureReason, number>>
}

/** Counts what the pool tells. */
export class Counters {
  readonly #totals: Totals = {
    turnsByWarmth: { live: 0, primed: 0, spare: 0, resumed: 0, cold: 0 },
    turnsByOutcome: {},
    refusedByReason: {},
    starts: 0,
    departuresByReason: {},
  }

  constructor(emitter: PoolEmitter) {
    const totals = this.#totals
    emitter.on('worker.started', () => {
      totals.starts += 1
    })
    emitter.on('worker.left', ({ reason }) => {
      totals.departuresByReason[reason] = (totals.departuresByReason[reason] ?? 0) + 1
    })
    emitter.on('turn.started', ({ warmth }) => {
      totals.turnsByWarmth[warmth] += 1
    })
    emitter.on('turn.ended', ({ outcome }) => increment(totals.turnsByOutcome, outcome))
    emitter.on('turn.refused', ({ error }) => increment(totals.refusedByReason, error.reason))
  }

  snapshot(): Totals {
    return structuredClone(this.#totals)
  }
}

function increment(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
