import { EventType } from '@ag-ui/core'
import type { AGUIEvent, RunAgentInput } from '@ag-ui/core'
import { formatWall } from '../../clock.ts'
import { PoolError, TurnInterruptedError } from '../../index.ts'
import { toApiError } from '../errors.ts'
import type { Question, Questions } from '../questions.ts'
import type { FeedReader, TurnFeed } from '../turn-feed.ts'
import { partOf } from '../../message-parts.ts'
import type { TurnEnd } from '../../message-parts.ts'
import { CatchUp } from './catch-up.ts'
import type { CatchUpParts } from './catch-up.ts'
import { schemaOf } from './input.ts'
import { watch } from './question-watch.ts'
import { hasAnswer } from './threads.ts'
import type { ThreadTurn } from './threads.ts'
import type { Translator } from './translator.ts'

/** A turn that a run follows. */
export interface Followed {
  turn: ThreadTurn
  /** True for the run that begins it. */
  fresh: boolean
  /** Called with the questions that the run ends with. */
  announce: (questions: readonly Question[]) => void
}

/** What a run is made of. */
export interface RunParts extends CatchUpParts {
  questions: Questions
}

type Step = { kind: 'message'; step: Awaited<ReturnType<FeedReader['next']>> } | { kind: 'failed'; error: Error }

/** The events of a run that follows a turn, whatever becomes of that. `reader` ends it from outside. */
export async function* followed(
  parts: RunParts,
  { turn, fresh, announce }: Followed,
  reader: FeedReader,
): AsyncGenerator<AGUIEvent, undefined> {
  const { input } = parts
  yield* beginning(input)
  const catchUp = new CatchUp(parts)
  yield* await catchUp.toTurn(turn, fresh)
  const translator = catchUp.translator(turn)
  const ending = yield* untilItEnds(turn.feed, reader, parts.questions, translator)
  if (ending.kind === 'asked') {
    announce(ending.open)
    yield* interrupted(input, turn, translator, ending.open)
    return undefined
  }
  yield* translator.close()
  if (ending.kind === 'failed' && !(ending.error instanceof TurnInterruptedError)) yield failed(ending.error)
  else if (ending.kind === 'failed' || wasInterrupted(ending.end, turn.feed)) yield cancelled(input)
  else if (ending.end === undefined || ending.end.failed) yield unsuccessful(ending.end, ending.modelError)
  else if (!hasAnswer(ending.end, turn.feed.answered)) yield unanswered()
  else {
    yield* await catchUp.toEnd(turn)
    yield succeeded(input)
  }
  return undefined
}

type Ending =
  | { kind: 'ended'; end: TurnEnd | undefined; modelError: string | undefined }
  | { kind: 'failed'; error: Error }
  | { kind: 'asked'; open: readonly Question[] }

/** Tells what the turn says, until it ends or waits for the front end. */
async function* untilItEnds(
  feed: TurnFeed,
  reader: FeedReader,
  questions: Questions,
  translator: Translator,
): AsyncGenerator<AGUIEvent, Ending> {
  using asked = watch(questions, feed.session)
  let next: Promise<Step> | undefined
  let end: TurnEnd | undefined
  let modelError: string | undefined
  let at = 0
  for (;;) {
    next ??= nextOf(reader)
    const step = await Promise.race([next, asked.due])
    if (step === undefined) {
      asked.reset()
      const open = questions.open(feed.session.tenant, feed.session.key)
      // What was said before the question comes before it, and is written to its end.
      if (open.length === 0 || at < feed.last || translator.writing) continue
      return { kind: 'asked', open }
    }
    next = undefined
    if (step.kind === 'failed') return step
    if (step.step.done === true) return { kind: 'ended', end, modelError }
    const { message, number } = step.step.value
    const part = partOf(message)
    if (part !== undefined) yield* translator.take(part)
    at = number
    if (part?.type === 'end') end = part.end
    if (part?.type === 'model_error') modelError = part.error
    asked.look()
  }
}

/** The same run, which ends with an error where it would break off. Its first event is its beginning. */
export async function* toItsEnd(
  events: Iterable<AGUIEvent> | AsyncIterable<AGUIEvent>,
): AsyncGenerator<AGUIEvent, undefined> {
  try {
    for await (const event of events) yield event
  } catch (error) {
    yield failed(error as Error)
  }
  return undefined
}

/** A run that shows the conversation and has nothing else to tell. */
export async function* shown(parts: RunParts): AsyncGenerator<AGUIEvent, undefined> {
  yield* beginning(parts.input)
  yield* await new CatchUp(parts).toHistory()
  yield succeeded(parts.input)
  return undefined
}

/** A run whose message was answered before: its answer again. `number`: of the event of that message. */
export async function* retold(
  parts: RunParts,
  message: string,
  number: number | undefined,
): AsyncGenerator<AGUIEvent, undefined> {
  yield* beginning(parts.input)
  yield* await new CatchUp(parts).toAnswer(message, number)
  yield succeeded(parts.input)
  return undefined
}

/** A run whose message was interrupted. */
export async function* stopped(parts: RunParts): AsyncGenerator<AGUIEvent, undefined> {
  yield* beginning(parts.input)
  yield* await new CatchUp(parts).toHistory()
  yield cancelled(parts.input)
  return undefined
}

/** A run in a thread in which nothing was said. */
export function* nothing(input: RunAgentInput): Generator<AGUIEvent, undefined> {
  yield* beginning(input)
  yield succeeded(input)
}

/** A run that cannot be. */
export function* refused(input: RunAgentInput, code: string, message: string): Generator<AGUIEvent, undefined> {
  const { threadId, runId } = input
  yield { type: EventType.RUN_STARTED, threadId, runId }
  yield { type: EventType.RUN_ERROR, message, code }
}

function* beginning({ threadId, runId, state }: RunAgentInput): Generator<AGUIEvent, void> {
  yield { type: EventType.RUN_STARTED, threadId, runId }
  if (state !== undefined && state !== null) yield { type: EventType.STATE_SNAPSHOT, snapshot: state }
}

function* interrupted(
  input: RunAgentInput,
  { clientCalls }: ThreadTurn,
  translator: Translator,
  open: readonly Question[],
): Generator<AGUIEvent, void> {
  for (const { tool } of open) if (tool !== undefined) yield* translator.announce(tool)
  const asked = open.filter(({ kind }) => kind !== 'tool_call')
  if (asked.length === 0) {
    // The front end runs the tools that are its own, and comes back with their results.
    yield succeeded(input, [...new Set([...clientCalls, ...open.map(({ id }) => id)])])
    return
  }
  const interrupts = asked.map((question) => ({
    id: question.id,
    reason: question.kind === 'permission' ? 'tool_call' : 'input_required',
    message: question.message,
    responseSchema: schemaOf(question),
    expiresAt: formatWall(question.expiresAt),
    ...(question.tool === undefined ? {} : { toolCallId: question.tool.id }),
  }))
  const { threadId, runId } = input
  yield { type: EventType.RUN_FINISHED, threadId, runId, outcome: { type: 'interrupt', interrupts } }
}

/** True for a client of AG-UI 1.0: those before know no other outcome than success and interrupt, and no more of a success. */
const isCurrent = ({ protocolVersion }: RunAgentInput): boolean => protocolVersion !== undefined

/** `pending`: calls of the front end's tools that wait for it. Clients before 1.0 see themselves which these are. */
function succeeded(input: RunAgentInput, pending: readonly string[] = []): AGUIEvent {
  const { threadId, runId } = input
  const pendingToolCallIds = pending.length > 0 && isCurrent(input) ? { pendingToolCallIds: [...pending] } : {}
  return { type: EventType.RUN_FINISHED, threadId, runId, outcome: { type: 'success', ...pendingToolCallIds } }
}

function cancelled(input: RunAgentInput): AGUIEvent {
  const { threadId, runId } = input
  return isCurrent(input)
    ? { type: EventType.RUN_FINISHED, threadId, runId, outcome: { type: 'cancelled' } }
    : { type: EventType.RUN_ERROR, message: 'the turn was interrupted', code: 'cancelled' }
}

/** What the model's API answered instead, in the words of the session's events. */
const MODEL_ERRORS: Readonly<Record<string, string>> = {
  rate_limit: 'model_rate_limited_error',
  overloaded: 'model_overloaded_error',
  billing_error: 'billing_error',
}

/** The end of a turn whose result is an error. Where the subtype says "success", the error was the model's. */
function unsuccessful(end: TurnEnd | undefined, modelError: string | undefined): AGUIEvent {
  const type = EventType.RUN_ERROR
  if (end === undefined) return { type, message: 'the turn ended without a result', code: 'no_result' }
  if (end.subtype !== 'success') return { type, message: 'the turn ended with an error', code: end.subtype }
  const code = MODEL_ERRORS[modelError ?? ''] ?? 'model_request_failed_error'
  return { type, message: end.text, code }
}

const unanswered = (): AGUIEvent => ({
  type: EventType.RUN_ERROR,
  message: 'the agent ended its turn without an answer; send the message again to try it again',
  code: 'no_answer',
})

function failed(error: Error): AGUIEvent {
  const code = error instanceof PoolError ? error.code : 'error'
  return { type: EventType.RUN_ERROR, message: toApiError(error).message, code }
}

const wasInterrupted = (end: TurnEnd | undefined, feed: TurnFeed): boolean =>
  end?.aborted === true || (feed.stopped && end?.failed !== false)

const nextOf = (reader: FeedReader): Promise<Step> =>
  reader.next().then(
    (step): Step => ({ kind: 'message', step }),
    (error: Error): Step => ({ kind: 'failed', error }),
  )
