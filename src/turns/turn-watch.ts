import type { CancelTimer, Clock } from '../clock.ts'
import { TurnTimeoutError } from '../errors.ts'
import type { TurnLimits } from '../options/limits.ts'
import { formatDuration } from '../units.ts'
import type { TurnWorker } from './turn-worker.ts'

/** The timers of one turn, and its limits of time. */
export class TurnWatch {
  readonly #clock: Clock
  readonly #timers = new Set<CancelTimer>()
  #ended = false
  /** Silence counts from here at the earliest. */
  #quietSince = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `reached` when the turn has run, or its process was silent, for too long. */
  begin(worker: TurnWorker, limits: TurnLimits, reached: (error: TurnTimeoutError) => void): void {
    const { turnTimeoutMs, inactivityTimeoutMs } = limits
    const tell = (limit: 'turnTimeout' | 'inactivityTimeout', limitMs: number): void =>
      reached(timeout(limit, limitMs, worker.pendingServers ?? []))
    if (Number.isFinite(turnTimeoutMs)) this.after(turnTimeoutMs, () => tell('turnTimeout', turnTimeoutMs))
    this.noteReader()
    if (Number.isFinite(inactivityTimeoutMs))
      this.#watchSilence(worker, inactivityTimeoutMs, () => tell('inactivityTimeout', inactivityTimeoutMs))
  }

  /** A reader had held the turn back until now: that was no silence. */
  noteReader(): void {
    this.#quietSince = this.#clock.now()
  }

  /** Unless the turn has ended before. */
  after(delayMs: number, callback: () => void): void {
    if (this.#ended) return
    const cancel = this.#clock.after(delayMs, () => {
      this.#timers.delete(cancel)
      callback()
    })
    this.#timers.add(cancel)
  }

  end(): void {
    this.#ended = true
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }

  /** Waiting for a slow reader, or for an answer to a permission request, is not silence. */
  #watchSilence(worker: TurnWorker, limitMs: number, reached: () => void): void {
    const limitAt = (): number => Math.max(this.#quietSince, worker.process.lastOutputAt, worker.lastAnswerAt) + limitMs
    this.after(limitAt() - this.#clock.now(), () => {
      const now = this.#clock.now()
      if (worker.process.heldBack || worker.openPermissionRequests > 0) this.#quietSince = now
      if (now < limitAt()) this.#watchSilence(worker, limitMs, reached)
      else reached()
    })
  }
}

function timeout(
  limit: 'turnTimeout' | 'inactivityTimeout',
  limitMs: number,
  pendingServers: readonly string[],
): TurnTimeoutError {
  const time = formatDuration(limitMs)
  const what = limit === 'turnTimeout' ? `it ran for ${time}` : `its process gave no sign of life for ${time}`
  const hint = waitingFor(pendingServers)
  return new TurnTimeoutError(limit, limitMs, `the turn was ended because ${what} (limits.${limit})${hint}`)
}

function waitingFor(servers: readonly string[]): string {
  if (servers.length === 0) return ''
  const names = servers.map((name) => `"${name}"`).join(', ')
  return `; its process still waited for the MCP ${servers.length === 1 ? 'server' : 'servers'} ${names} to start (starts.mcpTimeout)`
}
