import { EventEmitter } from 'node:events'
import type { CapacityError, StoreErrorCode } from './errors.ts'
import type { ExitFacts, ProcessInfo, TerminateReport } from './driver/driver.ts'
import type { Problems } from './files/problem.ts'
import type { MemoryStats } from './memory/governor.ts'
import type { PressureLevel } from './memory/pressure.ts'
import type { CloseReason } from './worker/worker.ts'
import type { BudgetAccount, PhaseTimes, Usage, SessionRef, TurnPhase, TurnStep } from './store/store.ts'
import type { WorkerState } from './worker/lifecycle.ts'
import type { StoreCall } from './store/watched-store.ts'
import type { WorkerPurpose, Warmth } from './worker/warmth.ts'

/** Why a transcript is not safe: its copy was refused, the disk was full, or a part of a turn is not in it. */
export type CopyFailure = 'mirror_error' | 'session_writes_lost' | 'turn_not_written'

/** One worker, as events show it. Times are milliseconds since the epoch. */
export interface WorkerInfo {
  id: string
  pid: number | undefined
  agent: string
  tenant: string
  /** The session it serves; undefined while it is a spare. */
  session: string | undefined
  sdkSessionId: string | undefined
  state: WorkerState
  purpose: WorkerPurpose
  /** How its last turn found it; undefined before its first. */
  warmth: Warmth | undefined
  cwd: string
  startedAt: number
  lastUsedAt: number
  turns: number
  /** Private memory of its process and everything it started, in bytes, as last measured; undefined until then. */
  memoryBytes: number | undefined
  /** What it has paged out, in bytes; undefined unless it is frozen. */
  swappedBytes: number | undefined
  /** What keeps it from being closed. */
  pinnedBy: { tasks: number; permissionRequests: number; transcript: boolean; unprompted: boolean } | undefined
}

/** One worker with all its processes, as `pool.workers()` shows it. */
export interface WorkerDetails extends WorkerInfo {
  /** Parents before their children. Empty while it has no process. */
  processes: ProcessInfo[]
}

/** How a turn ended: with a result, or with the code of its error. */
export interface TurnSummary {
  id: string
  session: SessionRef
  worker: string | undefined
  warmth: Warmth | undefined
  /** `success`, the subtype of an error result, or the code of the error that the caller got. */
  outcome: string
  durationMs: number
  /** From `send()` to the first assistant message; undefined when there was none. */
  firstMessageMs: number | undefined
  /** What it used; undefined when it had no process. Estimated for a turn without a result. */
  usage: Usage | undefined
  /** Milliseconds in each phase. Their sum is `durationMs`. */
  phases: PhaseTimes
  /** Milliseconds in the phase `tool` by tool, of at most 50 tools; the others are `other`. */
  tools: Record<string, number>
  /** The id of its conversation in the Agent SDK, which is also the attribute `session.id` of the agent's own telemetry. */
  sdkSessionId: string | undefined
  /** What it did, step by step, in the order in which the steps ended: the first 1,000. */
  steps: readonly TurnStep[]
  /** The `traceparent` that `send()` was given. */
  traceparent: string | undefined
  /** When it was sent, in milliseconds since the epoch. */
  startedAt: number
}

/** A turn that has not ended, as `pool.turns()` shows it. */
export interface TurnInfo {
  id: string
  tenant: string
  /** The key of its session. */
  session: string
  agent: string
  /** Undefined until the turn has a process. */
  worker: string | undefined
  /** How it found its process; undefined until then. */
  warmth: Warmth | undefined
  /** What it does or waits for now. */
  phase: TurnPhase
  /** Milliseconds in each phase so far, the present one included. */
  phases: PhaseTimes
  /** Milliseconds in the phase `tool` by tool, of at most 50 tools; the others are `other`. */
  tools: Record<string, number>
  /** What it did so far, as in `TurnSummary`. A step is there once it has ended. */
  steps: readonly TurnStep[]
  /** When it was sent, in milliseconds since the epoch. */
  startedAt: number
}

/** The turn that has waited longest for a place. */
export interface OldestWaiter {
  tenant: string
  agent: string
  /** What it waits for: `turns`, `tenant`, `memory` or `suspended`. */
  reason: string
  waitMs: number
}

/** The turns that are queued. */
export interface WaitStats {
  /** Number of turns by what they wait for: as in `OldestWaiter`, or `session` for the turn before them. */
  byReason: Record<string, number>
  /** Undefined if no turn waits for a place. */
  oldest: OldestWaiter | undefined
}

/** How the conversation of a session was made smaller. */
export interface SessionCompaction {
  session: SessionRef
  worker: string
  beforeBytes: number
  afterBytes: number
  durationMs: number
  usage: Usage | undefined
}

/** Which rule a session has outlived. */
export type RetentionReason = 'age' | 'count' | 'size'

/** A session that is to go. */
export interface Removal {
  tenant: string
  key: string
  agent: string
  reason: RetentionReason
  lastUsedAt: number
  bytes: number
}

/** A server that a process goes without. */
export interface ServerFailure {
  server: string
  status: 'failed' | 'needs-auth'
  /** In the words of the CLI, if it has any. */
  error: string | undefined
}

/** What a sandboxed process exchanged with one place over the last seconds, by the HTTP proxy of its sandbox. */
export interface EgressTraffic {
  worker: string
  tenant: string
  agent: string
  /** Undefined while it is a spare. */
  session: string | undefined
  /** `host:port`; `(none)` for a request that names none, and `(others)` for what is beyond 20 places. */
  place: string
  connections: number
  /** Of these, not allowed, or leading to a private address. */
  refused: number
  /** Of these, not made for another reason. */
  failed: number
  sentBytes: number
  receivedBytes: number
  /** Why the last one was refused or failed. */
  problem?: string
}

/** The events of a pool. Every event carries one object. */
export interface PoolEvents {
  'worker.started': [{ worker: WorkerInfo }]
  'worker.ready': [{ worker: WorkerInfo; startMs: number }]
  /** A spare has become a session's. */
  'worker.bound': [{ worker: WorkerInfo }]
  'worker.closed': [{ worker: WorkerInfo; reason: CloseReason; exit: ExitFacts; termination: TerminateReport }]
  /** One of its MCP servers did not come up in `starts.mcpTimeout`, or cannot be used: the agent goes without its tools. */
  'mcp.failed': [{ worker: WorkerInfo } & ServerFailure]
  /** At most every five seconds for a process, and when it ends. */
  egress: [EgressTraffic]
  'turn.started': [{ id: string; session: SessionRef; worker: string; warmth: Warmth }]
  'turn.ended': [TurnSummary]
  'turn.refused': [{ id: string; session: SessionRef; error: CapacityError }]
  'session.created': [{ session: SessionRef }]
  'session.deleted': [{ session: SessionRef }]
  /** All that a tenant had is removed. */
  'tenant.erased': [{ tenant: string }]
  /** Retention removed it. */
  'session.expired': [Removal]
  /** Its conversation was gone, and it started again, as `onStaleResume: 'fresh'` says. */
  'session.restarted': [{ session: SessionRef; lost: string }]
  /**
   * It had outgrown `limits.resumeSize` and was compacted, as `onLargeTranscript: 'compact'` says. Bytes are what a resume
   * would load.
   */
  'session.compacted': [SessionCompaction]
  /** Memory has become shorter, or is no longer so short. */
  'memory.pressure': [{ level: PressureLevel; from: PressureLevel; memory: MemoryStats }]
  /**
   * A part of its transcript was not copied to the store (`mirror_error`) or not written at all. `turn_not_written`
   * fails the turn. The CLI reports `session_writes_lost` when it exits.
   */
  'transcript.copyFailed': [{ session: SessionRef; reason: CopyFailure; error: string }]
  /** The missing part is in the store now. */
  'transcript.recopied': [{ session: SessionRef }]
  /** Processes of hosts that are gone were ended; `left` could not be. */
  'orphans.reaped': [{ pids: number[]; left: number }]
  /** Another host of the store is gone. */
  'host.departed': [{ id: string; place: string }]
  /** The other hosts hold this one for gone. Its sessions and processes end, and it comes back as another host. */
  'host.lost': [{ id: string }]
  /** An operator wants this host to drain (`claude-agent-pool drain`). */
  'host.drainAsked': [{ id: string }]
  /** A session whose host died in its turn continues here. */
  'session.takenOver': [{ session: SessionRef }]
  /** The store cannot write, for instance on a full disk, or can again. */
  'store.health': [
    { trouble: StoreErrorCode | undefined; from: StoreErrorCode | undefined; freeBytes: number | undefined },
  ]
  /** A model call was refused, because the budget of this account is used up. */
  'budget.reached': [{ worker: string; account: BudgetAccount; message: string }]
  /** A call of the store has ended. Emitted for each call: listeners must be fast. */
  'store.called': [StoreCall]
  /** An error in work that no caller asked for. */
  warning: [{ message: string; error: unknown }]
}

/** The pool's events. A listener that throws is reported as a warning; the other listeners still run. */
export class PoolEmitter extends EventEmitter<PoolEvents> {
  /** Warns of files that were left alone, if there are any. */
  warnOf(message: string, problems: Problems): void {
    const error = problems.error('files_failed', message)
    if (error !== undefined) this.tell('warning', { message, error })
  }

  /** Tells all listeners, whatever they do. */
  tell<Name extends keyof PoolEvents>(name: Name, ...[payload]: PoolEvents[Name]): void {
    for (const listener of this.listeners(name)) {
      try {
        ;(listener as (payload: PoolEvents[Name][0]) => void).call(this, payload)
      } catch (error) {
        if (name !== 'warning') this.tell('warning', { message: `a listener of "${name}" threw`, error })
      }
    }
  }
}
