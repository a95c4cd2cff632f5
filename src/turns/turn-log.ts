import type { SDKMessage } from '../driver/driver.ts'
import { ConfigError } from '../errors.ts'
import { checkOptions } from '../options/unknown.ts'
import { notOneOf } from '../options/wording.ts'

/** How much is kept for followers that come later or fall behind, in characters of JSON. The oldest messages go first. */
const KEPT = 1024 * 1024

/** How far a follower with `onSlow: 'wait'` may fall behind before the turn waits for it, in characters of JSON. */
const MAX_BEHIND = 256 * 1024

/** What the turn does about a follower that reads too slowly. */
export type OnSlow = 'drop' | 'wait'

/** What `turn.follow()` takes. */
export interface FollowOptions {
  /** Begins after the message of this number. Default 0: with the oldest message that is kept. */
  after?: number
  /**
   * What happens when this follower falls behind. Default `'drop'`: the turn and its other readers go on, and beyond 1 MiB of
   * JSON the follower misses the oldest messages. `'wait'`: the follower misses nothing that it waited for, and the process is
   * paused while the follower is more than 256 KiB of JSON behind.
   */
  onSlow?: OnSlow
}

/** One message of a turn. */
export interface TurnMessage {
  /** Counts the messages of the turn from 1. A gap tells that messages were missed. */
  readonly number: number
  readonly message: SDKMessage
  /** The message as JSON, made once for all followers. */
  readonly json: string
}

/** One follower's way through a turn. It ends with the turn, or throws what ended the turn instead of a result. */
export interface TurnFollower extends AsyncIterableIterator<TurnMessage, undefined, undefined> {
  /** Messages that it missed: it was too far behind, or they were no longer kept when it came. */
  readonly missed: number
  /** Stops following. The last reader of a turn that leaves interrupts it, unless `onLeave` is `'detach'`. */
  return(): Promise<IteratorResult<TurnMessage, undefined>>
}

/** What hears the messages of a turn and its end. */
export interface TurnSubscriber {
  /** False while the turn has to wait for it. */
  readonly caughtUp: boolean
  /** True once it reads no more. */
  readonly left: boolean
  push(message: SDKMessage): void
  end(failure: Error | undefined): void
  /** From now on it may miss messages instead of holding the turn back. */
  stopHolding(): void
}

interface Entry extends TurnMessage {
  /** Characters of JSON up to the end of this message, counted from the first message of the log. */
  readonly end: number
}

const ON_SLOW: readonly OnSlow[] = ['drop', 'wait']

/** Checks the options of `follow()`. Throws ConfigError. */
function checkFollowOptions(options: FollowOptions): void {
  checkOptions('follow()', options, { after: true, onSlow: true })
  const { after = 0, onSlow = 'drop' } = options
  if (!Number.isSafeInteger(after) || after < 0) throw new ConfigError('after', 'must be the number of a message, or 0')
  if (!ON_SLOW.includes(onSlow)) throw new ConfigError('onSlow', notOneOf(onSlow, ON_SLOW))
}

/** The newest messages of a turn, for any number of followers. */
export class TurnLog implements TurnSubscriber {
  readonly #followers = new Set<Follower>()
  readonly #onCaughtUp: () => void
  readonly #onLeft: () => Promise<void>
  #entries: Entry[] = []
  #last: number
  /** Characters of JSON that were pushed. */
  #pushed = 0
  /** Of these, what is not kept any more. */
  #dropped = 0
  #mayHold = true
  /** True while the turn waits for a follower. */
  #holding = false
  #ended = false
  #failure: Error | undefined

  /** `last`: the number of messages before the log. `onLeft`: called when the last follower has left. */
  constructor(last: number, { onCaughtUp, onLeft }: { onCaughtUp: () => void; onLeft: () => Promise<void> }) {
    this.#last = last
    this.#onCaughtUp = onCaughtUp
    this.#onLeft = onLeft
  }

  get caughtUp(): boolean {
    if (!this.#mayHold) return true
    for (const follower of this.#followers)
      if (follower.waits && this.#pushed - this.#readBy(follower) > MAX_BEHIND) return false
    return true
  }

  get left(): boolean {
    return this.#followers.size === 0
  }

  /** Throws ConfigError. */
  follow(options: FollowOptions): TurnFollower {
    checkFollowOptions(options)
    const follower = new Follower(this, options)
    this.#followers.add(follower)
    this.#holding = !this.caughtUp
    return follower
  }

  push(message: SDKMessage): void {
    if (this.#ended) return
    const json = JSON.stringify(message)
    this.#last += 1
    this.#pushed += json.length
    this.#entries.push({ number: this.#last, message, json, end: this.#pushed })
    for (const follower of this.#followers) follower.wake()
    this.#trim()
    this.#holding = !this.caughtUp
  }

  end(failure: Error | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#failure = failure
    for (const follower of this.#followers) follower.wake()
  }

  stopHolding(): void {
    this.#mayHold = false
    this.#trim()
  }

  /** For followers: whether nothing will come any more. */
  get ended(): boolean {
    return this.#ended
  }

  /** For followers: what ended the turn instead of a result. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** For followers: the oldest kept message after this number. */
  after(number: number): TurnMessage | undefined {
    const first = this.#entries[0]?.number ?? 0
    return this.#entries[Math.max(number + 1 - first, 0)]
  }

  /** For followers: one has asked for the next message. */
  moved(): void {
    this.#trim()
    if (!this.#holding || !this.caughtUp) return
    this.#holding = false
    this.#onCaughtUp()
  }

  /** For followers: one has left. */
  async leave(follower: Follower): Promise<void> {
    if (!this.#followers.delete(follower)) return
    this.#trim()
    if (this.#ended) return
    await this.#onLeft()
  }

  /** How many characters of JSON lie before what it reads next. */
  #readBy({ at }: Follower): number {
    const first = this.#entries[0]?.number ?? 0
    return this.#entries[at - first]?.end ?? (at < first ? this.#dropped : this.#pushed)
  }

  #trim(): void {
    while (this.#pushed - this.#dropped > KEPT && this.#entries.length > 1 && !this.#isAwaited())
      this.#dropped = this.#entries.shift()?.end ?? this.#pushed
  }

  /** True while a follower that must not miss it has not read the oldest message. */
  #isAwaited(): boolean {
    const oldest = this.#entries[0]?.number ?? 0
    if (!this.#mayHold) return false
    for (const { waits, at } of this.#followers) if (waits && at < oldest) return true
    return false
  }
}

type Result = IteratorResult<TurnMessage, undefined>

const DONE: Result = { done: true, value: undefined }

class Follower implements TurnFollower {
  readonly #log: TurnLog
  readonly #asking: ((result: Result | Promise<never>) => void)[] = []
  #left = false
  /** True once it has thrown what ended the turn. */
  #threw = false
  readonly waits: boolean
  /** The number of the last message it was given. */
  at: number
  missed = 0

  constructor(log: TurnLog, { after = 0, onSlow = 'drop' }: FollowOptions) {
    this.#log = log
    this.at = after
    this.waits = onSlow === 'wait'
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result> {
    return new Promise((resolve) => {
      this.#asking.push(resolve)
      this.wake()
      this.#log.moved()
    })
  }

  async return(): Promise<Result> {
    this.#left = true
    this.wake()
    await this.#log.leave(this)
    return DONE
  }

  /** There may be something to give. */
  wake(): void {
    while (this.#asking.length > 0) {
      const result = this.#take()
      if (result === undefined) return
      this.#asking.shift()?.(result)
    }
  }

  #take(): Result | Promise<never> | undefined {
    if (this.#left) return DONE
    const value = this.#log.after(this.at)
    if (value !== undefined) {
      this.missed += value.number - this.at - 1
      this.at = value.number
      return { done: false, value }
    }
    if (!this.#log.ended) return undefined
    const { failure } = this.#log
    if (failure === undefined || this.#threw) return DONE
    this.#threw = true
    return Promise.reject(failure)
  }
}
