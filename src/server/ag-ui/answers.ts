import type { RunAgentInput, ToolMessage } from '@ag-ui/core'
import type { NewSessionEvent, Session } from '../../index.ts'
import { toolUseEventId } from '../../index.ts'
import type { Question, Questions } from '../questions.ts'
import { toolAnswer } from '../tool-result.ts'
import type { ContentBlock } from '../content-block.ts'
import { toolBlocks } from './content.ts'
import { keepsNone } from './history.ts'
import { answerOf } from './input.ts'
import type { ThreadTurn } from './threads.ts'

/** What a run answers, and in whose name. */
interface Given {
  session: Session
  input: RunAgentInput
  by: string
}

/**
 * Gives the answers of a run to the questions that wait for people. What is wrong with them, if something is; nothing is
 * answered then. `announced`: ids of the questions that the front end was told of.
 */
export function giveAnswers(
  questions: Questions,
  { session, input, by }: Given,
  announced: ReadonlySet<string>,
): string | undefined {
  const { resume = [] } = input
  const open = questions.open(session.tenant, session.key).filter(({ kind }) => kind !== 'tool_call')
  // Without an answer it is told again what waits: so a front end that has lost its connection finds it.
  if (resume.length === 0) return undefined
  const problem = problemOf(questions, session, resume, open, announced)
  if (problem !== undefined) return problem
  for (const { interruptId, status, payload } of resume) {
    const question = open.find(({ id }) => id === interruptId)
    if (question !== undefined) questions.answer(session, interruptId, answerOf(question, status, payload), by)
  }
  return undefined
}

function problemOf(
  questions: Questions,
  session: Session,
  resume: NonNullable<RunAgentInput['resume']>,
  open: readonly Question[],
  announced: ReadonlySet<string>,
): string | undefined {
  const answered = new Set(resume.map(({ interruptId }) => interruptId))
  const missing = open.filter(({ id }) => announced.has(id) && !answered.has(id))
  if (missing.length > 0) return `resume must answer all interrupts; missing: ${missing.map(({ id }) => id).join(', ')}`
  const unknown = resume.find(({ interruptId }) => !questions.knows(session, interruptId))
  return unknown === undefined
    ? undefined
    : `resume answers "${unknown.interruptId}", which is no interrupt of this thread`
}

/** Gives the results that a run brings to the tool calls that wait for them, or that the agent has just made. */
export async function giveResults(
  questions: Questions,
  { session, input, by }: Given,
  turn: ThreadTurn | undefined,
): Promise<void> {
  if (turn === undefined || turn.feed.over) return
  const waiting = new Set(questions.open(session.tenant, session.key).flatMap(toolCallOf))
  for (const message of input.messages) {
    if (message.role !== 'tool') continue
    const { toolCallId: id } = message
    if (!waiting.has(id) && !turn.clientCalls.has(id)) continue
    turn.clientCalls.delete(id)
    const answer = toolAnswer(await record(session, message), message.error === undefined)
    // The CLI comes to one call after the other: this one is asked by now, or later.
    questions.answerCall(session, toolUseEventId(id), answer, by)
  }
}

const toolCallOf = ({ kind, id }: Question): string[] => (kind === 'tool_call' ? [id] : [])

/** The result in the session's events, where no message of the SDK tells of it. */
async function record(session: Session, { toolCallId, content, error }: ToolMessage): Promise<ContentBlock[]> {
  const blocks = toolBlocks(content)
  await recordResult(session, toolCallId, blocks, error !== undefined)
  return blocks
}

/** The same for what became of a call without a front end. Throws StoreError, SessionGoneError, PoolClosedError. */
export async function recordResult(
  session: Session,
  toolCallId: string,
  content: ContentBlock[],
  isError: boolean,
): Promise<void> {
  const event: NewSessionEvent = {
    type: 'user.custom_tool_result',
    custom_tool_use_id: toolUseEventId(toolCallId),
    content,
    is_error: isError,
  }
  await session.append([event]).catch((failure: unknown) => {
    if (!keepsNone(failure)) throw failure
  })
}
