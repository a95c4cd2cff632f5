import type { Clock } from '../clock.ts'

/** What keeps a worker from leaving. */
export interface Pin {
  /** Background tasks that its process works on. */
  tasks: number
  permissionRequests: number
  /** True while its transcript lacks something in the store. */
  transcript: boolean
  /** True while its agent speaks unprompted. */
  unprompted: boolean
  /** Clock reading since which there has been anything, in milliseconds. */
  sinceMs: number
}

/** Keeps count of what keeps one worker from leaving. */
export class Pins {
  readonly #clock: Clock
  #tasks = 0
  #permissionRequests = 0
  #lastAnswerAt = 0
  #transcript = false
  #unprompted = false
  #sinceMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Undefined: nothing keeps it. */
  get now(): Pin | undefined {
    if (this.#sinceMs === undefined) return undefined
    return {
      tasks: this.#tasks,
      permissionRequests: this.#permissionRequests,
      transcript: this.#transcript,
      unprompted: this.#unprompted,
      sinceMs: this.#sinceMs,
    }
  }

  get permissionRequests(): number {
    return this.#permissionRequests
  }

  /** Clock reading of the last answer to a permission request, in milliseconds. */
  get lastAnswerAt(): number {
    return this.#lastAnswerAt
  }

  get transcript(): boolean {
    return this.#transcript
  }

  recordTasks(count: number): void {
    this.#tasks = count
    this.#update()
  }

  recordPermissionRequest(change: 1 | -1): void {
    this.#permissionRequests += change
    if (change === -1) this.#lastAnswerAt = this.#clock.now()
    this.#update()
  }

  recordCopy(failed: boolean): void {
    this.#transcript = failed
    this.#update()
  }

  recordUnprompted(speaks: boolean): void {
    this.#unprompted = speaks
    this.#update()
  }

  #update(): void {
    const pinned = this.#tasks > 0 || this.#permissionRequests > 0 || this.#transcript || this.#unprompted
    if (!pinned) this.#sinceMs = undefined
    else this.#sinceMs ??= this.#clock.now()
  }
}
