import type { ExitCause } from '../errors.ts'
import type { CloseReason } from '../worker/worker.ts'
import type { PoolEmitter, CopyFailure } from '../events.ts'
import type { Warmth } from '../worker/warmth.ts'
import type { TerminateStage } from '../driver/driver.ts'

/** What happened since the pool began. Only ever goes up. */
export interface Totals {
  turnsByWarmth: Record<Warmth, number>
  turnsByOutcome: Record<string, number>
  refusedByReason: Record<string, number>
  starts: number
  closedByReason: Partial<Record<CloseReason, number>>
  /** What ended the processes. */
  exitsByCause: Record<ExitCause, number>
  /** Which step of ending it each process took; all but `gone` were ended by the pool. */
  terminationsByStage: Record<TerminateStage, number>
  /** Processes that were ended with their worker, descendants included. */
  processesEnded: number
  /** Processes that could not be ended. */
  processesLeft: number
  /** Conversations that were compacted because they had outgrown `limits.resumeSize`. */
  compactions: number
  /** Times that something of a transcript was not copied, or not written. */
  transcriptCopiesFailed: Record<CopyFailure, number>
}

/** Counts what the pool tells. */
export class Counters {
  readonly #totals: Totals = {
    turnsByWarmth: { live: 0, thawed: 0, primed: 0, spare: 0, resumed: 0, cold: 0 },
    turnsByOutcome: {},
    refusedByReason: {},
    starts: 0,
    closedByReason: {},
    exitsByCause: { normal: 0, crash: 0, signal: 0, out_of_memory: 0, ended: 0, not_started: 0 },
    terminationsByStage: { gone: 0, eof: 0, sigterm: 0, sigkill: 0 },
    processesEnded: 0,
    processesLeft: 0,
    compactions: 0,
    transcriptCopiesFailed: { mirror_error: 0, session_writes_lost: 0, turn_not_written: 0 },
  }

  constructor(emitter: PoolEmitter) {
    const totals = this.#totals
    emitter.on('worker.started', () => {
      totals.starts += 1
    })
    emitter.on('worker.closed', ({ reason, exit, termination }) => {
      totals.closedByReason[reason] = (totals.closedByReason[reason] ?? 0) + 1
      totals.exitsByCause[exit.cause] += 1
      totals.terminationsByStage[termination.stage] += 1
      totals.processesEnded += termination.processes
      totals.processesLeft += termination.left
    })
    emitter.on('turn.started', ({ warmth }) => {
      totals.turnsByWarmth[warmth] += 1
    })
    emitter.on('turn.ended', ({ outcome }) => increment(totals.turnsByOutcome, outcome))
    emitter.on('transcript.copyFailed', ({ reason }) => {
      totals.transcriptCopiesFailed[reason] += 1
    })
    emitter.on('session.compacted', () => {
      totals.compactions += 1
    })
    emitter.on('turn.refused', ({ error }) => increment(totals.refusedByReason, error.reason))
  }

  snapshot(): Totals {
    return structuredClone(this.#totals)
  }
}

function increment(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
