import type { AGUIEvent, RunAgentInput, UserMessage } from '@ag-ui/core'
import type { Pool, Session, SessionRef } from '../../index.ts'
import { PoolClosedError, SessionBusyError, SessionGoneError, TurnInterruptedError } from '../../index.ts'
import type { Logger } from '../../telemetry/log.ts'
import { ApiError } from '../errors.ts'
import type { AgUi } from '../options.ts'
import type { Answer, Questions } from '../questions.ts'
import type { TurnFeeds } from '../turn-feeds.ts'
import { giveAnswers, giveResults, recordResult } from './answers.ts'
import { checkTools } from './client-tools.ts'
import type { ClientTools } from './client-tools.ts'
import { blocksOf, readableBlocks } from './content.ts'
import { hasClientCall } from './history.ts'
import type { SaidMark } from './history.ts'
import { contextOf } from './input.ts'
import { followed, refused, retold, shown, stopped } from './run.ts'
import type { RunParts } from './run.ts'
import { newsOf } from './said-messages.ts'
import type { News } from './said-messages.ts'
import type { Thread, ThreadTurn, Threads } from './threads.ts'

/** The events of a run, and what to do when their reader has gone. */
export interface Run {
  events: Iterable<AGUIEvent> | AsyncIterable<AGUIEvent>
  leave?: (disconnected: boolean) => void
}

/** A run as it came. */
interface Asked {
  session: Session
  thread: Thread
  input: RunAgentInput
  /** The caller, for the log. */
  by: string
}

/** How a run goes on once it is known what it is. What else comes for the thread does not wait for that. */
type Plan = () => Run | Promise<Run>

/** What is kept with a prompt has room for their ids. */
const MOST_NEW = 100

const OPEN = 'interrupts are open; answer them with resume before anything else is sent'
const LATE = 'the turn of this tool call has failed and takes no result any more; send a message to go on'
const ELSEWHERE = 'the turn of this message runs and cannot be followed here; try again when it has ended'

interface RunsContext {
  pool: Pool
  feeds: TurnFeeds
  threads: Threads
  questions: Questions
  /** Undefined: the tools of front ends are given to no agent. */
  clientTools: ClientTools | undefined
  agUi: AgUi
  logger: Logger
}

/** What front ends do with sessions. */
export class Runs {
  readonly #context: RunsContext

  constructor(context: RunsContext) {
    this.#context = context
  }

  /** A client that opens the conversation later must not wait for the call or execute it. */
  async #noteUnanswered({ tenant, key }: SessionRef, id: string, { message = '' }: Answer): Promise<void> {
    const { pool, logger } = this.#context
    try {
      await recordResult(await pool.session(key, { tenant }), id, [{ type: 'text', text: message }], true)
    } catch (error) {
      if (error instanceof PoolClosedError || error instanceof SessionGoneError) return
      logger.warn('what became of a tool call of a front end was not noted', { error, tenant, session: key })
    }
  }

  /** Throws ApiError, and what a turn throws that does not begin. `by`: the caller, for the log. */
  async run(session: Session, input: RunAgentInput, by: string): Promise<Run> {
    const thread = this.#context.threads.of(session)
    const plan = await thread.inOrder(() => this.#plan({ session, thread, input, by }))
    return plan()
  }

  async #plan(asked: Asked): Promise<Plan> {
    const { session, thread, input } = asked
    const { questions } = this.#context
    await thread.said.ready()
    const { messages, last, running } = await this.#look(asked)
    const isAsked = questions.open(session.tenant, session.key).some(({ kind }) => kind !== 'tool_call')
    if (messages.length > 0 && isAsked) return () => ({ events: refused(input, 'interrupt_open', OPEN) })
    const problem = giveAnswers(questions, asked, thread.announced)
    if (problem !== undefined) return () => ({ events: refused(input, 'interrupt_open', problem) })
    await giveResults(questions, asked, running)
    if (messages.length > 0) return this.#begin(asked, messages, running)
    const waiting = [...thread.waiting].find((turn) => turn.messages.some(({ id }) => id === last?.message.id))
    const turn = waiting ?? running
    return turn === undefined ? this.#again(asked, last) : () => this.#follow(asked, turn, false)
  }

  /** What the run brings, and what runs meanwhile. */
  async #look({ session, thread, input }: Asked): Promise<News & { running: ThreadTurn | undefined }> {
    const { feeds } = this.#context
    const news = await newsOf(input.messages, thread.said)
    const feed = feeds.find(session.tenant, session.key)
    const turn = feed === undefined ? undefined : thread.turnOf(feed)
    if (turn?.feed.over !== true) return { ...news, running: turn }
    if (news.last?.fate !== 'running') return { ...news, running: undefined }
    // It has ended while this was looked up.
    await turn.noted
    return { ...(await newsOf(input.messages, thread.said)), running: undefined }
  }

  /** Nothing is new and nothing runs: what became of the last message says what this run is. */
  async #again(asked: Asked, last: News['last']): Promise<Plan> {
    const { input, thread } = asked
    const parts = this.#partsOf(asked, last === undefined ? [] : [last.message])
    if (last === undefined) return () => ({ events: shown(parts) })
    const { message, fate } = last
    const number = thread.said.numberOf(message)
    switch (fate) {
      case 'failed':
        if (await this.#isLateResult(asked, number)) return () => ({ events: refused(input, 'tool_result_late', LATE) })
        return this.#begin(asked, [message], undefined)
      case 'running':
        return () => ({ events: refused(input, 'session_busy', ELSEWHERE) })
      case 'interrupted':
        return () => ({ events: stopped(parts) })
      default:
        return () => ({ events: retold(parts, message.id, number) })
    }
  }

  /** A front end that has executed a tool for a turn that is no more does not ask for another try. */
  async #isLateResult({ session, input }: Asked, number: number | undefined): Promise<boolean> {
    const newest = input.messages.at(-1)
    return newest?.role === 'tool' && number !== undefined && (await hasClientCall(session, number, newest.toolCallId))
  }

  /** Throws ApiError for what cannot be sent, and has changed nothing then. */
  #begin(asked: Asked, messages: readonly UserMessage[], running: ThreadTurn | undefined): Plan {
    const { onBusy } = this.#context.agUi
    const { waiting } = asked.thread
    const said = readAll(messages)
    this.#checkTools(asked)
    const isBusy = running !== undefined && !waiting.has(running)
    if (onBusy === 'interrupt') {
      const carried = this.#replace(asked.thread, running)
      return this.#send(asked, [...carried, ...said], { onBusy, behind: Number(isBusy) })
    }
    const steered = onBusy === 'steer' ? (running ?? [...waiting][0]) : undefined
    steered?.feed.goOn()
    return this.#send(asked, said, { onBusy, behind: waiting.size + Number(isBusy), ...(steered && { steered }) })
  }

  /** Ends what the thread does, for something new. What no agent has had by then is what the new turn begins with. */
  #replace(thread: Thread, running: ThreadTurn | undefined): ReadMessage[] {
    const turns = new Set([...thread.waiting, ...(running === undefined ? [] : [running])])
    const carried: ReadMessage[] = []
    for (const { feed, messages } of turns) {
      if (feed.turn.warmth !== undefined || feed.inGrace) void feed.stop()
      else {
        void feed.turn.interrupt()
        for (const message of messages) carried.push({ message, blocks: readableBlocks(message.content) })
      }
    }
    return carried
  }

  #checkTools({ session, input }: Asked): void {
    if (this.#takesTools(session)) checkTools(input.tools ?? [])
  }

  #takesTools({ agent }: Session): boolean {
    const { clientTools, pool } = this.#context
    return clientTools?.serves(pool.agentOptions(agent)) === true
  }

  #send(asked: Asked, said: readonly ReadMessage[], { onBusy, behind, steered }: Manner): Plan {
    const { session, thread, input } = asked
    const { feeds, clientTools } = this.#context
    const mark: SaidMark = {
      messages: said.map(({ message: { id }, blocks }) => ({ id, blocks: blocks.length })),
      ...(steered === undefined ? (behind === 0 ? {} : { behind }) : { steers: true }),
    }
    const feed = feeds.send(
      session,
      said.flatMap(({ blocks }) => blocks),
      { onBusy, context: contextOf(input), metadata: { ag_ui: mark } },
    )
    if (this.#takesTools(session))
      clientTools?.give(feed, input.tools ?? [], (...call) => void this.#noteUnanswered(...call))
    const turn = thread.begin(
      feed,
      said.map(({ message }) => message),
      mark,
      steered,
    )
    return () => this.#started(asked, turn, said, onBusy)
  }

  async #started(asked: Asked, turn: ThreadTurn, said: readonly ReadMessage[], onBusy: string): Promise<Run> {
    const { feed, messages } = turn
    await this.#context.feeds.settled(feed)
    const { failure } = feed
    if (!feed.over || feed.last > 0 || failure === undefined) return this.#follow(asked, turn, true)
    const isInterrupted = failure instanceof TurnInterruptedError
    if (onBusy === 'steer' && (isInterrupted || failure instanceof SessionBusyError)) {
      // The turn was over, or not begun, when the message came to it.
      const plan = await asked.thread.inOrder(async () =>
        this.#send(asked, said, { onBusy: 'queue', behind: asked.thread.waiting.size }),
      )
      return plan()
    }
    if (!isInterrupted) throw failure
    return { events: stopped(this.#partsOf(asked, messages)) }
  }

  #follow(asked: Asked, turn: ThreadTurn, fresh: boolean): Run {
    const reader = turn.feed.read(0, this.#context.agUi.disconnectGraceMs)
    const parts = this.#partsOf(asked, turn.messages)
    const announce = (questions: readonly { id: string }[]): void => {
      asked.thread.announced = new Set(questions.map(({ id }) => id))
    }
    return {
      events: followed(parts, { turn, fresh, announce }, reader),
      leave: (disconnected) => reader.leave(disconnected),
    }
  }

  #partsOf({ session, thread: { said }, input }: Asked, messages: readonly UserMessage[]): RunParts {
    return { input, session, said, before: said.idBefore(messages), questions: this.#context.questions }
  }
}

/** A message of the user, and what an agent reads of it. */
interface ReadMessage {
  message: UserMessage
  blocks: ReturnType<typeof blocksOf>
}

/** How a prompt is sent to a thread. */
interface Manner {
  onBusy: 'interrupt' | 'steer' | 'queue'
  /** How many turns are before it. */
  behind: number
  /** The turn that it is added to. */
  steered?: ThreadTurn
}

/** What is to be read of these messages. Throws ApiError where that is nothing, or cannot be read. */
function readAll(messages: readonly UserMessage[]): ReadMessage[] {
  if (messages.length > MOST_NEW)
    throw new ApiError(
      'invalid_request_error',
      `messages: ${messages.length} are new; at most ${MOST_NEW} can be sent at once`,
    )
  const newest = messages.at(-1)
  // One that was refused stays in the client's history: it must not stand in the way of those after it.
  const read = messages.map((message) => ({
    message,
    blocks: message === newest ? blocksOf(message.content) : readableBlocks(message.content),
  }))
  const said = read.filter(({ blocks }) => blocks.length > 0)
  if (said.length > 0) return said
  throw new ApiError('invalid_request_error', 'messages: the new message is blank; write something, or attach it')
}
