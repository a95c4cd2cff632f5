import { EventType } from '@ag-ui/core'
import type { AGUIEvent, Message, RunAgentInput } from '@ag-ui/core'
import { formatWall } from '../../clock.ts'
import type { SDKResultMessage } from '../../driver/driver.ts'
import { PoolError } from '../../index.ts'
import { toApiError } from '../errors.ts'
import type { Question, Questions } from '../questions.ts'
import type { FeedReader, TurnFeed } from '../turn-feed.ts'
import { schemaOf } from './input.ts'
import { Translator } from './translator.ts'

/** One turn as AG-UI sees it: a run, or several with interrupts between them. */
export class ThreadTurn {
  readonly feed: TurnFeed
  readonly translator: Translator = new Translator()
  /** The last message that was told of. */
  at = 0
  /** What the last run ended with: to be answered, all of it, by the next one. */
  announced: readonly Question[] = []
  /** True while a run of it is being streamed. */
  reader: FeedReader | undefined

  /** What an earlier reading has told of: this one tells it anew. */
  readonly retold: ReadonlySet<string>

  constructor(feed: TurnFeed, retold: Iterable<string> = []) {
    this.feed = feed
    this.retold = new Set(retold)
  }

  /** The same turn from its beginning, for a front end that has missed some of it. */
  again(): ThreadTurn {
    return new ThreadTurn(this.feed, [...this.retold, ...this.translator.messages.map(({ id }) => id)])
  }
}

type Step =
  | { kind: 'message'; step: Awaited<ReturnType<FeedReader['next']>> }
  | { kind: 'failed'; error: Error }
  | { kind: 'asked' }

/** The events of one run, from its beginning to its end, whatever becomes of the turn. `reader` ends it from outside. */
export async function* runEvents(
  input: RunAgentInput,
  turn: ThreadTurn,
  reader: FeedReader,
  questions: Questions,
): AsyncGenerator<AGUIEvent, undefined> {
  const { translator, feed } = turn
  yield* beginning(input)
  if (turn.at === 0 && turn.retold.size > 0) {
    const messages = input.messages.filter(({ id }) => !turn.retold.has(id))
    yield { type: EventType.MESSAGES_SNAPSHOT, messages }
  }
  using asked = watch(questions, feed)
  let next: Promise<Step> | undefined
  let result: SDKResultMessage | undefined
  for (;;) {
    next ??= nextOf(reader)
    const step = await Promise.race([next, asked.due])
    if (step.kind === 'asked') {
      asked.reset()
      const open = questions.open(feed.session.tenant, feed.session.key)
      // What was said before the question comes before it, and is written to its end.
      if (open.length === 0 || turn.at < feed.last || translator.writing) continue
      yield* interrupted(input, turn, open)
      return undefined
    }
    next = undefined
    if (step.kind === 'failed') {
      yield* failed(translator, step.error)
      return undefined
    }
    if (step.step.done === true) break
    const { message, number } = step.step.value
    yield* translator.take(message)
    turn.at = number
    if (message.type === 'result') result = message
    asked.look()
  }
  yield* finished(input, translator, result)
  return undefined
}

/** A run that has nothing to tell but how things stand. */
export function* emptyRun(input: RunAgentInput): Generator<AGUIEvent, undefined> {
  yield* beginning(input)
  const { threadId, runId } = input
  yield { type: EventType.RUN_FINISHED, threadId, runId, outcome: { type: 'success' } }
}

/** A run that cannot be. */
export function* refusedRun(input: RunAgentInput, message: string): Generator<AGUIEvent, undefined> {
  const { threadId, runId } = input
  yield { type: EventType.RUN_STARTED, threadId, runId }
  yield { type: EventType.RUN_ERROR, message, code: 'interrupt_open' }
}

function* beginning({ threadId, runId, state }: RunAgentInput): Generator<AGUIEvent, void> {
  yield { type: EventType.RUN_STARTED, threadId, runId }
  if (state !== undefined && state !== null) yield { type: EventType.STATE_SNAPSHOT, snapshot: state }
}

function* interrupted(input: RunAgentInput, turn: ThreadTurn, open: readonly Question[]): Generator<AGUIEvent, void> {
  for (const { tool } of open) if (tool !== undefined) yield* turn.translator.announce(tool)
  turn.announced = open
  yield snapshot(input, turn.translator)
  const { threadId, runId } = input
  const interrupts = open.map((question) => ({
    id: question.id,
    reason: question.kind === 'permission' ? 'tool_call' : 'input_required',
    message: question.message,
    responseSchema: schemaOf(question),
    expiresAt: formatWall(question.expiresAt),
    ...(question.tool === undefined ? {} : { toolCallId: question.tool.id }),
  }))
  yield { type: EventType.RUN_FINISHED, threadId, runId, outcome: { type: 'interrupt', interrupts } }
}

function* finished(
  input: RunAgentInput,
  translator: Translator,
  result: SDKResultMessage | undefined,
): Generator<AGUIEvent, void> {
  yield* translator.close()
  const { threadId, runId } = input
  if (result === undefined || (result.is_error && !wasInterrupted(result))) {
    const said = result?.subtype === 'success' ? result.result : undefined
    yield {
      type: EventType.RUN_ERROR,
      message: said ?? 'the turn ended with an error',
      code: result?.subtype ?? 'no_result',
    }
    return
  }
  yield snapshot(input, translator)
  const outcome = wasInterrupted(result) ? ({ type: 'cancelled' } as const) : ({ type: 'success' } as const)
  yield { type: EventType.RUN_FINISHED, threadId, runId, outcome }
}

function* failed(translator: Translator, error: Error): Generator<AGUIEvent, void> {
  yield* translator.close()
  const code = error instanceof PoolError ? error.code : 'error'
  yield { type: EventType.RUN_ERROR, message: toApiError(error).message, code }
}

const wasInterrupted = ({ terminal_reason: reason }: SDKResultMessage): boolean =>
  reason?.startsWith('aborted') === true

/** The whole conversation of this thread, as far as the front end and this turn know it. */
function snapshot({ messages }: RunAgentInput, translator: Translator): AGUIEvent {
  const told = new Map(translator.messages.map((message) => [message.id, message]))
  const known = new Set(messages.map(({ id }) => id))
  const before = messages.map((message): Message => told.get(message.id) ?? message)
  const after = translator.messages.filter(({ id }) => !known.has(id))
  // What is told of later must not change what was sent.
  return { type: EventType.MESSAGES_SNAPSHOT, messages: structuredClone([...before, ...after]) }
}

const nextOf = (reader: FeedReader): Promise<Step> =>
  reader.next().then(
    (step): Step => ({ kind: 'message', step }),
    (error: Error): Step => ({ kind: 'failed', error }),
  )

interface Watch extends Disposable {
  /** Resolves when it is time to look at the questions. */
  readonly due: Promise<Step>
  /** It is. */
  look(): void
  /** Somebody looks: from now on it is about what comes. */
  reset(): void
}

/** Says when to look at the questions of a session: at the beginning, when one is asked, and when told. */
function watch(questions: Questions, { session }: TurnFeed): Watch {
  let next = Promise.withResolvers<Step>()
  const look = (): void => next.resolve({ kind: 'asked' })
  const heard = ({ session: { tenant, key } }: Question): void => {
    if (tenant === session.tenant && key === session.key) look()
  }
  questions.events.on('asked', heard)
  look()
  return {
    get due() {
      return next.promise
    },
    look,
    reset() {
      next = Promise.withResolvers<Step>()
    },
    [Symbol.dispose]() {
      questions.events.off('asked', heard)
    },
  }
}
