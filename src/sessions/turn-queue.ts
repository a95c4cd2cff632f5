import { PoolClosedError, SessionBusyError, TurnInterruptedError } from '../errors.ts'
import type { OnBusy } from '../turns/send.ts'
import type { RunningTurn } from '../turns/running-turn.ts'

/** Turns of one session that may wait for the one that runs. */
const MAX_QUEUED = 16

/** A turn, and what runs it when its time has come. */
interface Admission {
  turn: RunningTurn
  run: () => Promise<void>
}

/** What follows from the end of a turn. */
interface TurnQueueListener {
  /** No turn runs, and none waits. */
  idle(): void
  /** Something went wrong after the end of a turn. */
  failed(error: unknown): void
}

/** The turns of one session, one at a time. */
export class TurnQueue {
  readonly #key: string
  readonly #listener: TurnQueueListener
  #running: Admission | undefined
  #waiting: Admission[] = []
  #settled: Promise<void> = Promise.resolve()

  constructor(key: string, listener: TurnQueueListener) {
    this.#key = key
    this.#listener = listener
  }

  /** The turn that runs. While the worker of one that has ended is still being given back, the next one counts as running. */
  get running(): RunningTurn | undefined {
    const { turn } = this.#running ?? {}
    return turn?.state === 'ended' ? this.#waiting.find((next) => next.turn.state !== 'ended')?.turn : turn
  }

  /** Settles when the turn has ended that has a worker; undefined while none has. */
  get ended(): Promise<void> | undefined {
    const { turn } = this.#running ?? {}
    return turn?.state === 'running' ? turn.ended : undefined
  }

  /** Resolves when nothing of the last turn is left to do. */
  get settled(): Promise<void> {
    return this.#settled
  }

  /** True while no turn is at work, nor what follows from it. */
  get free(): boolean {
    return this.#running === undefined
  }

  get empty(): boolean {
    return this.free && this.#waiting.length === 0
  }

  /** Runs the turn now, or does what the caller wants when another one runs. Never throws: it ends the turn. */
  admit(turn: RunningTurn, onBusy: Exclude<OnBusy, 'steer'>, run: () => Promise<void>): void {
    const { running } = this
    const admission = { turn, run }
    if (this.#running === undefined) {
      this.#settled = this.#start(admission)
    } else if (running === undefined) {
      this.#enqueue(admission)
    } else if (onBusy === 'reject') {
      turn.fail(this.#busy('a turn of this session runs; wait for it, or say what to do with onBusy'))
    } else if (this.#waiting.length >= MAX_QUEUED) {
      turn.fail(this.#busy(`${MAX_QUEUED} turns of this session wait already`))
    } else {
      turn.waitIn(() => {
        this.#waiting = this.#waiting.filter((other) => other !== admission)
      })
      this.#enqueue(admission, onBusy === 'interrupt')
      if (onBusy === 'interrupt') void running.interrupt()
    }
  }

  /** What runs and what waits ends with this error. */
  end(error: Error): void {
    for (const { turn } of this.#waiting.splice(0)) turn.fail(error)
    this.#running?.turn.fail(error)
  }

  /** What has no worker yet ends with this error. */
  endWaiting(error: Error): void {
    for (const { turn } of [...this.#waiting, ...(this.#running === undefined ? [] : [this.#running])])
      if (turn.state === 'waiting' && turn.record?.isWaiting === true) turn.fail(error)
  }

  #enqueue(admission: Admission, first = false): void {
    if (first) this.#waiting.unshift(admission)
    else this.#waiting.push(admission)
    admission.turn.phases.enter('queued', 'session')
    void admission.turn.record?.accept()
  }

  async #start(admission: Admission): Promise<void> {
    const { turn, run } = admission
    this.#running = admission
    turn.waitIn(undefined)
    try {
      await run()
    } catch (error) {
      if (turn.state !== 'ended') turn.fail(error as Error)
      else if (!isExpected(error)) this.#listener.failed(error)
    }
    this.#running = undefined
    // A turn that was aborted while it waited needs no worker.
    this.#waiting = this.#waiting.filter((waiting) => waiting.turn.state !== 'ended')
    const next = this.#waiting.shift()
    if (next !== undefined) this.#settled = this.#start(next)
    else this.#listener.idle()
  }

  #busy(why: string): SessionBusyError {
    return new SessionBusyError(`session "${this.#key}" is busy: ${why}`)
  }
}

/** The end of a turn that still waited has no further effect. */
const isExpected = (error: unknown): boolean =>
  error instanceof TurnInterruptedError || error instanceof PoolClosedError
