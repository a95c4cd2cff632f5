import type { Clock, CancelTimer } from '../clock.ts'
import type { SDKMessage } from '../driver/driver.ts'
import type { Pool, PoolEvents, SendOptions, Session, SessionRef, Turn, TurnInput } from '../index.ts'

/** What happens to a turn when its client disconnects. */
export type OnDisconnect = 'detach' | 'interrupt'

/** The same as a grace, in milliseconds: for so long a turn goes on without a reader before it is interrupted. */
export const graceOf = (onDisconnect: OnDisconnect): number => (onDisconnect === 'detach' ? Infinity : 0)

/** What is kept of a turn for readers that come or come back, in characters of JSON; the oldest goes first. */
const KEPT = 1024 * 1024

/** How far a reader may fall behind before the turn waits for it. */
const BEHIND = 256 * 1024

/** How long the end of a turn can be found by a client that comes back, and of how many turns. */
const LINGER_MS = 60_000
const MAX_ENDED = 1_000

/** A turn that has said nothing by then is answered with its stream all the same: a process may take long to start. */
const PATIENCE_MS = 10_000

/** One message of a turn, numbered from 1. */
export interface FeedEntry {
  readonly number: number
  readonly message: SDKMessage
  readonly json: string
}

/** One client's way through a feed. It ends with the turn, or throws what ended that. */
export interface FeedReader extends AsyncIterator<FeedEntry, undefined> {
  /** Leaves. A disconnect may interrupt the turn after its grace; without one, the turn goes on. */
  leave(disconnected: boolean): void
  return(): Promise<IteratorResult<FeedEntry, undefined>>
}

/** A turn that goes on whether or not somebody reads it, and what it has said lately. */
export class TurnFeed {
  readonly turn: Turn
  readonly session: Pick<SessionRef, 'tenant' | 'key'>
  /** Settles when the turn has a process, with its first message, or at its end. Never rejects. */
  readonly begun: Promise<void>
  /** Settles at the turn's end. Never rejects. */
  readonly ended: Promise<void>
  readonly #clock: Clock
  readonly #begun = Promise.withResolvers<void>()
  readonly #readers = new Set<Reader>()
  #cancelGrace: CancelTimer | undefined
  #stopped = false
  #answered = false
  #entries: FeedEntry[] = []
  #kept = 0
  #last = 0
  #over = false
  #failure: Error | undefined
  #room: (() => void) | undefined

  constructor(turn: Turn, session: Pick<SessionRef, 'tenant' | 'key'>, clock: Clock) {
    this.turn = turn
    this.session = session
    this.#clock = clock
    this.begun = this.#begun.promise
    this.ended = this.#pump()
  }

  /** The turn has a process: from now on it is not refused. */
  noteBegun(): void {
    this.#begun.resolve()
  }

  get over(): boolean {
    return this.#over
  }

  /** What ended the turn instead of a result. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** The number of the newest message. */
  get last(): number {
    return this.#last
  }

  /** True while its last reader has gone and another may still come, before it is interrupted. */
  get inGrace(): boolean {
    return this.#cancelGrace !== undefined
  }

  /** True once it was interrupted on behalf of a client. */
  get stopped(): boolean {
    return this.#stopped
  }

  /**
   * Reads what comes after this number: from the oldest message that is still there. `graceMs`: when this reader
   * disconnects as the last one, how long the turn goes on.
   */
  read(after: number, graceMs: number): FeedReader {
    const reader = new Reader(this, after, graceMs)
    this.goOn()
    this.#readers.add(reader)
    return reader
  }

  /** True once the agent has said something or called a tool. */
  get answered(): boolean {
    return this.#answered
  }

  /** The turn is wanted again: it is not interrupted at the end of its grace. */
  goOn(): void {
    this.#cancelGrace?.()
    this.#cancelGrace = undefined
  }

  /** Interrupts the turn; resolves when its process has taken note. */
  stop(): Promise<void> {
    this.goOn()
    this.#stopped ||= !this.#over
    return this.turn.interrupt()
  }

  /** For readers. */
  after(number: number): FeedEntry | undefined {
    const first = this.#entries[0]?.number ?? 0
    return this.#entries[Math.max(number + 1 - first, 0)]
  }

  /** For readers: one has moved on. */
  moved(): void {
    this.#room?.()
  }

  /** For readers: one has gone. */
  left(reader: Reader, disconnected: boolean): void {
    this.#readers.delete(reader)
    this.moved()
    if (!disconnected || this.#readers.size > 0 || this.#over || reader.graceMs === Infinity) return
    if (reader.graceMs === 0) void this.stop()
    else this.#cancelGrace = this.#clock.after(reader.graceMs, () => void this.stop())
  }

  async #pump(): Promise<void> {
    try {
      for await (const message of this.turn) {
        this.#add(message)
        while (this.#isTooFarAhead()) await new Promise<void>((resolve) => (this.#room = resolve))
      }
    } catch (error) {
      this.#failure = error as Error
    }
    this.#over = true
    this.goOn()
    this.#begun.resolve()
    for (const reader of this.#readers) reader.wake()
  }

  #add(message: SDKMessage): void {
    const json = JSON.stringify(message)
    this.#answered ||= isAnswer(message)
    this.#last += 1
    this.#entries.push({ number: this.#last, message, json })
    this.#kept += json.length
    while (this.#kept > KEPT && this.#entries.length > 1 && !this.#isNeeded(this.#entries[0] as FeedEntry))
      this.#kept -= this.#entries.shift()?.json.length ?? 0
    this.#begun.resolve()
    for (const reader of this.#readers) reader.wake()
  }

  #isNeeded({ number }: FeedEntry): boolean {
    for (const reader of this.#readers) if (reader.at < number) return true
    return false
  }

  #isTooFarAhead(): boolean {
    let slowest = this.#last
    for (const { at } of this.#readers) slowest = Math.min(slowest, at)
    let behind = 0
    for (let index = this.#entries.length - 1; index >= 0; index -= 1) {
      const entry = this.#entries[index] as FeedEntry
      if (entry.number <= slowest) return false
      behind += entry.json.length
      if (behind > BEHIND) return true
    }
    return false
  }
}

/** What the CLI says in the model's place is no answer. */
function isAnswer(message: SDKMessage): boolean {
  if (message.type !== 'assistant' || message.error !== undefined || message.parent_tool_use_id !== null) return false
  return message.message.content.some(
    (block) => block.type === 'tool_use' || (block.type === 'text' && block.text.trim() !== ''),
  )
}

class Reader implements FeedReader {
  readonly #feed: TurnFeed
  #wake: (() => void) | undefined
  #left = false
  /** The number of the last message it was given. */
  at: number
  readonly graceMs: number

  constructor(feed: TurnFeed, after: number, graceMs: number) {
    this.#feed = feed
    this.at = after
    this.graceMs = graceMs
  }

  wake(): void {
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<FeedEntry, undefined>> {
    for (;;) {
      if (this.#left) return { done: true, value: undefined }
      const entry = this.#feed.after(this.at)
      if (entry !== undefined) {
        this.at = entry.number
        this.#feed.moved()
        return { done: false, value: entry }
      }
      if (this.#feed.over) {
        this.leave(false)
        if (this.#feed.failure !== undefined) throw this.#feed.failure
        return { done: true, value: undefined }
      }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  return(): Promise<IteratorResult<FeedEntry, undefined>> {
    this.leave(true)
    return Promise.resolve({ done: true, value: undefined })
  }

  leave(disconnected: boolean): void {
    if (this.#left) return
    this.#left = true
    this.wake()
    this.#feed.left(this, disconnected)
  }
}

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/** The turns that this server runs, and for a minute those that have ended: where clients that come back find them. */
export class TurnFeeds {
  readonly #pool: Pool
  readonly #clock: Clock
  /** By the id of their turn. */
  readonly #beginning = new Map<string, TurnFeed>()
  readonly #started = ({ id }: PoolEvents['turn.started'][0]): void => this.#beginning.get(id)?.noteBegun()
  readonly #feeds = new Map<string, TurnFeed>()
  readonly #ended = new Map<string, CancelTimer>()

  constructor(pool: Pool, clock: Clock) {
    this.#pool = pool
    this.#clock = clock
    pool.on('turn.started', this.#started)
  }

  /** The turn of this session that runs, or ended within the last minute. */
  find(tenant: string, key: string): TurnFeed | undefined {
    return this.#feeds.get(idOf(tenant, key))
  }

  /** Starts a turn that no leaving client ends, unless the server was told so. */
  send(session: Session, input: TurnInput, options: Omit<SendOptions, 'onLeave'> = {}): TurnFeed {
    const feed = new TurnFeed(session.send(input, { ...options, onLeave: 'detach' }), session, this.#clock)
    this.#beginning.set(feed.turn.id, feed)
    void feed.begun.then(() => this.#beginning.delete(feed.turn.id))
    const id = idOf(session.tenant, session.key)
    const other = this.#feeds.get(id)
    // While another turn runs this one is refused, and must not hide that one.
    if (other === undefined || other.over) this.#keep(id, feed)
    else void feed.begun.then(() => (feed.failure === undefined ? this.#keep(id, feed) : undefined))
    return feed
  }

  /** Until it is known whether the turn is refused, or 10 s: a status can say so, an answer that has begun cannot. */
  async settled(feed: TurnFeed): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#clock.after(PATIENCE_MS, resolve)
    await Promise.race([feed.begun, promise])
    cancel()
  }

  /** Forgets the ended ones. */
  close(): void {
    this.#pool.off('turn.started', this.#started)
    for (const cancel of this.#ended.values()) cancel()
    this.#ended.clear()
    this.#feeds.clear()
  }

  #keep(id: string, feed: TurnFeed): void {
    this.#ended.get(id)?.()
    this.#ended.delete(id)
    this.#feeds.set(id, feed)
    void feed.ended.then(() => {
      if (this.#feeds.get(id) !== feed) return
      this.#ended.set(
        id,
        this.#clock.after(LINGER_MS, () => this.#forget(id)),
      )
      const [oldest] = this.#ended.keys()
      if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#forget(oldest)
    })
  }

  #forget(id: string): void {
    this.#ended.get(id)?.()
    this.#ended.delete(id)
    this.#feeds.delete(id)
  }
}
