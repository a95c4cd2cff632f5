import type { UserMessage } from '@ag-ui/core'
import type { Session } from '../../index.ts'
import type { PoolListeners } from '../pool-listeners.ts'
import type { TurnFeed } from '../turn-feed.ts'
import { endOf } from '../../message-parts.ts'
import type { TurnEnd } from '../../message-parts.ts'
import type { SaidMark } from './history.ts'
import { SaidMessages } from './said-messages.ts'
import type { Fate } from './said-messages.ts'
import type { Told } from './translator.ts'

/** Threads that are remembered, and all busy ones. Of others, all that counts is in the events of their sessions. */
const MAX_THREADS = 1_000

/** A turn that a run of AG-UI has begun, or one that it follows. */
export interface ThreadTurn {
  readonly feed: TurnFeed
  readonly told: Told
  readonly messages: readonly UserMessage[]
  /** Calls of the front end's tools that it was told of, without a result. */
  readonly clientCalls: Set<string>
  /** The number of the event of its prompt, once it has one; undefined where events are not kept. */
  readonly number: () => Promise<number | undefined>
  /** The same of its first prompt, if this one was added to it. */
  readonly begins: () => Promise<number | undefined>
  /** Settles when it has ended and what became of its messages is noted. Never rejects. */
  readonly noted: Promise<void>
}

/** A session as AG-UI's front ends use it. */
export class Thread {
  readonly said: SaidMessages
  /** Ids of the questions that the last run ended with: the next one is to answer them all. */
  announced: ReadonlySet<string> = new Set()
  /** Turns that were begun here and have no process yet, oldest first. */
  readonly waiting: Set<ThreadTurn> = new Set()
  readonly #turns = new WeakMap<TurnFeed, ThreadTurn>()
  #order: Promise<unknown> = Promise.resolve()
  #inOrder = 0
  #running = 0

  constructor(session: Session) {
    this.said = new SaidMessages(session)
  }

  /** One after the other: of two runs with the same message, the second finds what the first has begun. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    this.#inOrder += 1
    const done = this.#order.then(work)
    const settled = (): void => void (this.#inOrder -= 1)
    this.#order = done.then(settled, settled)
    return done
  }

  /** True while it knows more than the events of its session. */
  get busy(): boolean {
    return this.#inOrder > 0 || this.#running > 0
  }

  /** What is known of a turn, whichever client started it. */
  turnOf(feed: TurnFeed): ThreadTurn {
    return (
      this.#turns.get(feed) ??
      this.#note(feed, [], { number: numberOf(feed), begins: numberOf(feed), noted: feed.ended })
    )
  }

  /** Notes what a new turn runs, and later what became of it. `steered`: the turn that its prompt was added to. */
  begin(feed: TurnFeed, messages: readonly UserMessage[], mark: SaidMark, steered?: ThreadTurn): ThreadTurn {
    this.said.begin(messages, mark)
    const number = numberOf(feed)
    const noted = feed.ended.then(async () => this.said.note(mark, { fate: await fateOf(feed) }))
    const turn = this.#note(feed, messages, { number, begins: steered?.begins ?? number, noted })
    void number().then((known) => known !== undefined && this.said.note(mark, { number: known }))
    this.#running += 1
    void noted.then(() => (this.#running -= 1))
    this.waiting.add(turn)
    void feed.begun.then(() => this.waiting.delete(turn))
    return turn
  }

  #note(
    feed: TurnFeed,
    messages: readonly UserMessage[],
    rest: Pick<ThreadTurn, 'number' | 'begins' | 'noted'>,
  ): ThreadTurn {
    const turn = { feed, messages, told: new Map(), clientCalls: new Set<string>(), ...rest } satisfies ThreadTurn
    this.#turns.set(feed, turn)
    return turn
  }
}

const numberOf = (feed: TurnFeed) => async (): Promise<number | undefined> => {
  try {
    return (await feed.turn.promptStored)?.number
  } catch {
    return undefined
  }
}

/** What became of the messages of a turn that has ended. */
async function fateOf({ stopped, failure, turn, answered }: TurnFeed): Promise<Fate> {
  const end = failure === undefined ? endOf(await turn.result) : undefined
  if (stopped && end?.failed !== false) return 'interrupted'
  if (end === undefined) return turn.warmth === undefined ? 'unsent' : 'failed'
  if (end.aborted) return 'interrupted'
  return end.failed || !hasAnswer(end, answered) ? 'failed' : 'done'
}

/** False for a turn that ended well without a word: that is no success. `answered`: it was heard to say or do something. */
export const hasAnswer = ({ text }: TurnEnd, answered: boolean): boolean => answered || text.trim() !== ''

/** The threads that were used lately. */
export class Threads {
  readonly #threads = new Map<string, Thread>()

  constructor(listeners: Pick<PoolListeners, 'on'>) {
    listeners.on('session.deleted', ({ session: { tenant, key } }) => this.#threads.delete(idOf(tenant, key)))
  }

  of(session: Session): Thread {
    const id = idOf(session.tenant, session.key)
    const thread = this.#threads.get(id) ?? new Thread(session)
    // The one that was used longest ago goes first.
    this.#threads.delete(id)
    this.#threads.set(id, thread)
    for (const [oldest, { busy }] of this.#threads) {
      if (this.#threads.size <= MAX_THREADS) break
      if (!busy && oldest !== id) this.#threads.delete(oldest)
    }
    return thread
  }
}

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`
