import type { NewSessionEvent, NumberedEvent, Session, SessionEvent } from '../../../index.ts'
import { ApiError } from '../../errors.ts'
import type { Answer, Questions } from '../../questions.ts'
import type { FileSources } from '../files/file-sources.ts'
import type { Found } from './sessions.ts'
import type { SentEvent } from './session-schema.ts'

type Confirmation = Extract<SentEvent, { type: 'user.tool_confirmation' }>
type Result = Extract<SentEvent, { type: 'user.custom_tool_result' }>

/** What a client says to a call: its event, and what that means to the agent. */
interface Said {
  /** The event of the call. */
  callId: string
  /** Where the request names it. */
  field: 'tool_use_id' | 'custom_tool_use_id'
  event: NewSessionEvent
  answer: Answer
}

const WAITS_FOR = { tool_use_id: 'a confirmation', custom_tool_use_id: 'a result' } as const

/** What may have become of a call, newest first, up to the end of the turn before. */
const LOOKED_AT = [
  'agent.tool_use',
  'agent.mcp_tool_use',
  'agent.custom_tool_use',
  'agent.tool_result',
  'agent.mcp_tool_result',
  'user.tool_confirmation',
  'user.custom_tool_result',
  'session.status_idle',
]

const PAGE = 100

/** A call that waits has few events behind it: an agent goes on without its answer nowhere but in subagents. */
const MAX_PAGES = 10

/**
 * Takes what clients answer to the calls of agents, from the moment when a call is in the events: its agent may be about to
 * ask. Such an answer waits for the question.
 */
export class CallAnswers {
  readonly #questions: Questions
  readonly #files: Pick<FileSources, 'resolve'>
  /** Answers on their way, so that a call gets one. */
  readonly #taking = new Set<string>()

  constructor(questions: Questions, files: Pick<FileSources, 'resolve'>) {
    this.#questions = questions
    this.#files = files
  }

  /** Throws ApiError when the call does not wait for it. */
  confirm(
    found: Found,
    { tool_use_id, result, deny_message }: Confirmation,
    by: string,
    named: { id?: string } = {},
  ): Promise<SessionEvent> {
    const message = typeof deny_message === 'string' ? { deny_message } : {}
    return this.#take(found, by, {
      callId: tool_use_id,
      field: 'tool_use_id',
      event: { type: 'user.tool_confirmation', tool_use_id, result, ...message, ...named },
      answer: { allow: result === 'allow', ...(typeof deny_message === 'string' ? { message: deny_message } : {}) },
    })
  }

  /** Throws ApiError when the call does not wait for it. */
  async result(
    found: Found,
    { custom_tool_use_id, content = [], is_error }: Result,
    by: string,
    named: { id?: string } = {},
  ): Promise<SessionEvent> {
    const failed = is_error ?? false
    const given = await this.#files.resolve(found.tenant, content)
    return this.#take(found, by, {
      callId: custom_tool_use_id,
      field: 'custom_tool_use_id',
      event: {
        type: 'user.custom_tool_result',
        custom_tool_use_id,
        content,
        is_error: failed,
        ...named,
      } as NewSessionEvent,
      answer: { allow: !failed, content: { content: given } },
    })
  }

  async #take({ tenant, session }: Found, by: string, said: Said): Promise<SessionEvent> {
    const { callId, field, event, answer } = said
    const ref = { tenant, key: session.key }
    const refused = new ApiError('invalid_request_error', `${field}: ${callId} does not wait for ${WAITS_FOR[field]}`)
    const place = JSON.stringify([tenant, session.key, callId])
    if (this.#taking.has(place)) throw refused
    this.#taking.add(place)
    try {
      const question = this.#questions.openCall(ref, callId)
      const waits =
        question === undefined
          ? !this.#questions.hasSettledCall(ref, callId) && (await isAboutToAsk(session, said))
          : (question.kind === 'tool_call') === (field === 'custom_tool_use_id')
      if (!waits) throw refused
      const [told] = await session.append([event])
      this.#questions.answerCall(ref, callId, answer, by)
      return (told as NumberedEvent).event
    } finally {
      this.#taking.delete(place)
    }
  }
}

/** True for a call of the turn that runs which asks, and has neither an answer nor a result. */
async function isAboutToAsk(session: Session, { callId, field }: Said): Promise<boolean> {
  let before: number | undefined
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const range = { types: LOOKED_AT, descending: true, limit: PAGE }
    const page = await session.history(before === undefined ? range : { ...range, before })
    for (const { event } of page) {
      if (event.id === callId) return asks(event, field)
      if (settles(event, callId)) return false
    }
    if (page.length < PAGE) return false
    before = page.at(-1)?.number
  }
  return false
}

function asks(event: SessionEvent, field: Said['field']): boolean {
  if (field === 'custom_tool_use_id') return event.type === 'agent.custom_tool_use'
  return 'evaluated_permission' in event && event.evaluated_permission === 'ask'
}

/** Whether a call that came before this event waits for nothing any more. */
function settles(event: SessionEvent, callId: string): boolean {
  switch (event.type) {
    case 'session.status_idle':
      return event.stop_reason.type !== 'requires_action'
    case 'agent.tool_result':
    case 'user.tool_confirmation':
      return event.tool_use_id === callId
    case 'agent.mcp_tool_result':
      return event.mcp_tool_use_id === callId
    case 'user.custom_tool_result':
      return event.custom_tool_use_id === callId
    default:
      return false
  }
}
