import type { CancelTimer, Clock } from '../clock.ts'
import { formatDuration } from '../units.ts'
import type { FileCalls } from './calls.ts'
import { Refusal } from './problem.ts'

/** How long and how much one operation may take. */
export interface Bounds {
  /** One call of the file system. */
  callMs: number
  /** All calls together. */
  totalMs: number
  /** Files and folders. */
  entries: number
  /** Folders within folders. */
  depth: number
  fileBytes: number
  totalBytes: number
}

export const BOUNDS: Readonly<Bounds> = {
  callMs: 30_000,
  totalMs: 10 * 60_000,
  entries: 1_000_000,
  depth: 100,
  fileBytes: 8 * 2 ** 30,
  totalBytes: 64 * 2 ** 30,
}

/** Of the four threads that Node has for files, all tenants together take two: the others stay free for the host. */
const CALLS_AT_ONCE = 2

/**
 * Says which call may run. A call that hangs (in a network file system, say) keeps its thread. So its tenant gets no other one until
 * it has returned.
 */
export class Lane {
  readonly #limit: number
  readonly #hanging = new Map<string, number>()
  #running = 0
  #waiting: (() => void)[] = []

  constructor(limit: number = CALLS_AT_ONCE) {
    this.#limit = limit
  }

  /** Throws a Refusal while a call of this tenant hangs. */
  check(root: string): void {
    if (this.#hanging.has(root)) throw new Refusal('too_slow', 'does not answer since an earlier call')
  }

  /** Takes a place at once, if one is free. */
  take(): boolean {
    if (this.#running >= this.#limit) return false
    this.#running += 1
    return true
  }

  /** Resolves with a place. `forget()` gives up waiting. */
  wait(): { place: Promise<void>; forget: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    const forget = (): void => {
      const count = this.#waiting.length
      this.#waiting = this.#waiting.filter((other) => other !== resolve)
      // It had its place already, and does not need it.
      if (this.#waiting.length === count) this.leave()
    }
    return { place: promise, forget }
  }

  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#running -= 1
    else next()
  }

  hangs(root: string, call: Promise<unknown>): void {
    this.#hanging.set(root, (this.#hanging.get(root) ?? 0) + 1)
    const returned = (): void => {
      const left = (this.#hanging.get(root) ?? 1) - 1
      if (left === 0) this.#hanging.delete(root)
      else this.#hanging.set(root, left)
    }
    void call.then(returned, returned)
  }
}

/** One piece of work in a tenant's folder: its calls, one after the other, within their bounds. */
export class Operation implements Disposable {
  readonly calls: FileCalls
  readonly bounds: Readonly<Bounds>
  /** Whether paths begin at an open folder. */
  readonly anchored: boolean
  /** The user whose files alone may be touched, if the host could touch others. */
  readonly owner: number | undefined
  readonly #root: string
  readonly #lane: Lane
  readonly #clock: Clock
  readonly #endsAt: number
  #entries = 0
  #bytes = 0
  #overdue: ((error: Refusal) => void) | undefined
  #since = 0
  #cancel: CancelTimer | undefined

  constructor(
    root: string,
    parts: {
      calls: FileCalls
      lane: Lane
      clock: Clock
      anchored: boolean
      bounds: Readonly<Bounds>
      owner?: number | undefined
    },
  ) {
    this.#root = root
    this.#lane = parts.lane
    this.#clock = parts.clock
    this.calls = parts.calls
    this.anchored = parts.anchored
    this.owner = parts.owner
    this.bounds = parts.bounds
    this.#endsAt = parts.clock.now() + parts.bounds.totalMs
  }

  /** Makes one call. `undo` gives back the result of one that came too late. */
  async call<T>(work: (calls: FileCalls) => Promise<T>, undo?: (result: T) => void): Promise<T> {
    if (this.#clock.now() >= this.#endsAt) throw this.#tooSlow(this.bounds.totalMs)
    this.#lane.check(this.#root)
    if (!this.#lane.take()) await this.#wait()
    const call = work(this.calls)
    const leave = (): void => this.#lane.leave()
    void call.then(leave, leave)
    return this.#inTime(call, () => {
      this.#lane.hangs(this.#root, call)
      void call.then(undo, () => undefined)
    })
  }

  /** Closes what was only read, or only a place. */
  readonly drop = (fd: number): void => this.calls.drop(fd)

  /** Counts more files and folders. */
  entries(count: number): void {
    this.#entries += count
    if (this.#entries > this.bounds.entries)
      throw new Refusal('too_many', `has more than ${this.bounds.entries} files and folders`)
  }

  /** How many more there may be. */
  get entriesLeft(): number {
    return this.bounds.entries - this.#entries
  }

  /** Counts what is about to be read or copied. */
  bytes(count: number): void {
    this.#bytes += count
    if (this.#bytes > this.bounds.totalBytes)
      throw new Refusal('too_many', `has more than ${this.bounds.totalBytes} bytes`)
  }

  /** No call follows. */
  [Symbol.dispose](): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  async #wait(): Promise<void> {
    const { place, forget } = this.#lane.wait()
    await this.#inTime(place, forget)
  }

  #inTime<T>(call: Promise<T>, late: () => void): Promise<T> {
    this.#since = this.#clock.now()
    this.#arm(this.bounds.callMs)
    return new Promise<T>((resolve, reject) => {
      const overdue = (error: Refusal): void => {
        late()
        reject(error)
      }
      this.#overdue = overdue
      const settled = (): void => {
        if (this.#overdue === overdue) this.#overdue = undefined
      }
      call.then(
        (value) => {
          settled()
          resolve(value)
        },
        (error: unknown) => {
          settled()
          reject(error as Error)
        },
      )
    })
  }

  /** One timer for all calls: most end long before it. */
  #arm(delayMs: number): void {
    this.#cancel ??= this.#clock.after(delayMs, () => {
      this.#cancel = undefined
      const left = this.#since + this.bounds.callMs - this.#clock.now()
      if (this.#overdue === undefined) return
      if (left > 0) return this.#arm(left)
      // After a halt of the whole process the answer may be there, and only unread.
      const overdue = this.#overdue
      setImmediate(() =>
        setImmediate(() => {
          if (this.#overdue === overdue) overdue(this.#tooSlow(this.bounds.callMs))
        }),
      )
    })
  }

  #tooSlow(ms: number): Refusal {
    return new Refusal('too_slow', `took longer than ${formatDuration(ms)}`)
  }
}
