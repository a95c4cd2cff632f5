import type { SDKMessage, SDKResultMessage } from '../driver/driver.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { Warmth } from '../worker/warmth.ts'
import type { FollowOptions, TurnFollower } from './turn-log.ts'

/** What a reader that stops iterating does to the turn. */
export type OnLeave = 'interrupt' | 'detach'

/** One user input until its result. Iterate it for the SDK's messages, or await `result` alone. */
export interface Turn extends AsyncIterableIterator<SDKMessage, undefined, undefined> {
  readonly id: string
  /** The turn's `result` message. Rejects with what ended the turn instead; that is never an unhandled rejection. */
  readonly result: Promise<SDKResultMessage>
  /**
   * The event of the prompt, once it is durable: from then on it is not lost, whatever happens. Undefined where events are
   * not kept. Rejects with what ended the turn before; that is never an unhandled rejection.
   */
  readonly promptStored: Promise<NumberedEvent | undefined>
  /** How the turn found its process; undefined while it waits for one. */
  readonly warmth: Warmth | undefined
  /** Messages that were dropped without a reader: no reader ever came, or it had stopped at the end of the turn. */
  readonly droppedMessages: number
  /**
   * Another reader of this turn, with numbered messages. Any number of followers may come at any time; each reads at its own
   * pace, and a slow one holds neither the turn nor the others unless it asks for that (`onSlow: 'wait'`). From the first call
   * on, the newest 1 MiB of JSON is kept for followers that come later, also after the end of the turn. So call it right after
   * `send()` to keep a turn from its beginning. Throws ConfigError.
   */
  follow(options?: FollowOptions): TurnFollower
  /** Stops the turn and resolves when the process has taken note. The turn then ends with a result, as in the SDK. */
  interrupt(): Promise<void>
}
