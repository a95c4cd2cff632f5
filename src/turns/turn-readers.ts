import type { SDKMessage } from '../driver/driver.ts'
import { TurnLog } from './turn-log.ts'
import type { FollowOptions, TurnFollower, TurnSubscriber } from './turn-log.ts'
import { TurnReader } from './turn-reader.ts'

interface TurnReadersListener {
  /** No reader holds the turn back. */
  caughtUp(): void
  /** A reader has gone. `all`: it was the last one. Resolves when what follows from that is done. */
  left(all: boolean): Promise<void>
}

/** The readers of one turn: its caller, callers that joined, and followers. */
export class TurnReaders {
  /** The caller's own. */
  readonly main: TurnReader
  readonly #listener: TurnReadersListener
  readonly #all: TurnSubscriber[]
  #log: TurnLog | undefined
  /** Messages that were told. */
  #told = 0
  /** How late readers find the turn. */
  #stoppedHolding = false
  #ended: { failure: Error | undefined } | undefined

  constructor(listener: TurnReadersListener) {
    this.#listener = listener
    this.main = this.#newReader()
    this.#all = [this.main]
  }

  tell(message: SDKMessage): void {
    this.#told += 1
    for (const reader of this.#all) reader.push(message)
    this.check()
  }

  /** Lets the turn go on if none holds it back. */
  check(): void {
    if (this.#all.every((reader) => reader.caughtUp)) this.#listener.caughtUp()
  }

  follow(options: FollowOptions): TurnFollower {
    this.#log ??= this.openLog(this.#told)
    return this.#log.follow(options)
  }

  /** A log of what the turn says from now on. `last`: the number of messages before. */
  openLog(last: number): TurnLog {
    const log = new TurnLog(last, { onCaughtUp: () => this.check(), onLeft: () => this.#left() })
    this.#subscribe(log)
    return log
  }

  /** Another reader, from now on. */
  join(): TurnReader {
    const reader = this.#newReader()
    this.#subscribe(reader)
    return reader
  }

  async leave(reader: TurnReader): Promise<void> {
    reader.leave()
    await this.#left()
  }

  /** A reader that has stopped must not keep a turn whose end it will be told anyway. */
  stopHolding(): void {
    this.#stoppedHolding = true
    for (const reader of this.#all) reader.stopHolding()
    this.check()
  }

  end(failure: Error | undefined): void {
    this.#ended = { failure }
    for (const reader of this.#all) reader.end(failure)
  }

  async #left(): Promise<void> {
    if (this.#ended !== undefined) return
    this.check()
    await this.#listener.left(this.#all.every((reader) => reader.left))
  }

  #newReader(): TurnReader {
    return new TurnReader(() => this.check())
  }

  #subscribe(reader: TurnSubscriber): void {
    if (this.#stoppedHolding) reader.stopHolding()
    if (this.#ended !== undefined) reader.end(this.#ended.failure)
    this.#all.push(reader)
  }
}
