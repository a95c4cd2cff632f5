import type { NewSessionEvent, NumberedEvent, Session, SessionEvent, TurnInput } from '../../index.ts'
import { SessionBusyError, toolUseEventId } from '../../index.ts'
import { ApiError } from '../errors.ts'
import type { Quotas } from '../limits.ts'
import type { Question, Questions } from '../questions.ts'
import type { ApiSessions, Found } from './sessions.ts'
import { isGone, lastStatus, wireUsage } from './sessions.ts'
import { dollarsOf } from './session-resource.ts'
import type { ContentBlock, SentEvent } from './session-schema.ts'

interface EventsContext {
  sessions: ApiSessions
  questions: Questions
  quotas: Pick<Quotas, 'keep'>
  /** Something went wrong that no client asked for. */
  warn: (message: string, error: unknown) => void
}

/** Takes what clients send to a session: each event is durable before it is answered. */
export class SentEvents {
  readonly #context: EventsContext

  constructor(context: EventsContext) {
    this.#context = context
  }

  /** Takes the events in their order, in the name of `by`. What was taken before one that is refused stays. Throws ApiError. */
  async send(found: Found, events: readonly SentEvent[], by: string): Promise<SessionEvent[]> {
    const { resource } = found
    if (resource.archived_at !== null) throw new ApiError('invalid_request_error', `session ${resource.id} is archived`)
    const taken: SessionEvent[] = []
    for (const event of events) taken.push(await this.#take(found, event, by))
    return taken
  }

  #take(found: Found, event: SentEvent, by: string): Promise<SessionEvent> {
    switch (event.type) {
      case 'user.message':
        return this.#message(found, event.content)
      case 'user.interrupt':
        return this.#interrupt(found)
      case 'user.tool_confirmation':
        return this.#confirmation(found, event, by)
      case 'user.custom_tool_result':
        return this.#toolResult(found, event, by)
      case 'system.message':
        this.#context.quotas.keep(found.tenant)
        return append(found.session, { ...event, processed_at: null })
    }
  }

  async #message(found: Found, content: ContentBlock[]): Promise<SessionEvent> {
    const { sessions, questions, quotas } = this.#context
    const { tenant, session, resource } = found
    quotas.keep(tenant)
    await sessions.checkAgent(found)
    await sessions.checkBudget(found)
    if (questions.open(tenant, session.key).length > 0)
      throw new ApiError(
        'invalid_request_error',
        'the session waits for an answer to what it asked; send user.tool_confirmation, user.custom_tool_result, or user.interrupt',
      )
    const context = await pendingSystemMessages(session)
    const input = content as TurnInput
    // A message to a turn that runs goes to that turn; behind one that is ending it waits.
    for (const onBusy of ['steer', 'queue'] as const) {
      const turn = session.send(input, { context, onBusy, onLeave: 'detach' })
      if (resource.budget !== null) {
        const note = (): Promise<void> => this.#noteBudget(found)
        void turn.result.then(note, note)
      }
      try {
        const accepted = await turn.accepted
        if (accepted !== undefined) return accepted.event
      } catch (error) {
        if (onBusy === 'queue' || !isTooLate(error)) throw error
      }
    }
    throw new ApiError('invalid_request_error', 'the server keeps no events, so that this API cannot be served')
  }

  async #interrupt({ session }: Found): Promise<SessionEvent> {
    const event = await append(session, { type: 'user.interrupt' })
    await session.interrupt()
    return event
  }

  async #confirmation(
    { tenant, session }: Found,
    event: Extract<SentEvent, { type: 'user.tool_confirmation' }>,
    by: string,
  ): Promise<SessionEvent> {
    const question = this.#questionOf(tenant, session.key, event.tool_use_id)
    if (question === undefined || question.kind === 'tool_call')
      throw new ApiError('invalid_request_error', `tool_use_id: ${event.tool_use_id} does not wait for a confirmation`)
    const { tool_use_id, result, deny_message } = event
    const message = deny_message ?? undefined
    const told = await append(session, {
      type: 'user.tool_confirmation',
      tool_use_id,
      result,
      ...(message === undefined ? {} : { deny_message: message }),
    })
    this.#answer(
      { tenant, session },
      question,
      { allow: result === 'allow', ...(message === undefined ? {} : { message }) },
      by,
    )
    return told
  }

  async #toolResult(
    { tenant, session }: Found,
    event: Extract<SentEvent, { type: 'user.custom_tool_result' }>,
    by: string,
  ): Promise<SessionEvent> {
    const question = this.#questionOf(tenant, session.key, event.custom_tool_use_id)
    if (question?.kind !== 'tool_call')
      throw new ApiError(
        'invalid_request_error',
        `custom_tool_use_id: ${event.custom_tool_use_id} does not wait for a result`,
      )
    const { custom_tool_use_id, content = [], is_error } = event
    const told = await append(session, {
      type: 'user.custom_tool_result',
      custom_tool_use_id,
      content,
      is_error: is_error ?? false,
    } as NewSessionEvent)
    this.#answer({ tenant, session }, question, { allow: is_error !== true, content: { content } }, by)
    return told
  }

  #questionOf(tenant: string, key: string, eventId: string): Question | undefined {
    return this.#context.questions
      .open(tenant, key)
      .find(({ tool }) => tool !== undefined && toolUseEventId(tool.id) === eventId)
  }

  #answer(
    { tenant, session }: Pick<Found, 'tenant' | 'session'>,
    question: Question,
    answer: Parameters<Questions['answer']>[2],
    by: string,
  ): void {
    this.#context.questions.answer({ tenant, key: session.key }, question.id, answer, by)
  }

  /** The turn that reached the ceiling has said so itself if the CLI saw it; else this is the first to know. */
  async #noteBudget({ tenant, session }: Found): Promise<void> {
    try {
      // Meanwhile it may have been raised or removed.
      const { resource } = await this.#context.sessions.find(tenant, session.key)
      const { usage } = await session.info()
      if (resource.budget === null || usage.costUsd < dollarsOf(resource.budget)) return
      const last = await lastStatus(session)
      if (last?.type === 'session.status_idle' && last.stop_reason.type === 'budget_reached') return
      await session.append([
        { type: 'session.usage', usage: wireUsage(usage), budget: resource.budget },
        { type: 'session.status_idle', stop_reason: { type: 'budget_reached' }, stop_details: null },
      ])
    } catch (error) {
      if (!isGone(error)) this.#context.warn('the end of a budget was not noted', error)
    }
  }
}

async function append(session: Session, event: NewSessionEvent): Promise<SessionEvent> {
  const [added] = await session.append([event])
  return (added as NumberedEvent).event
}

/** The turn was over, or not begun, when the message came to it. */
const isTooLate = (error: unknown): boolean =>
  error instanceof SessionBusyError || (error instanceof Error && error.name === 'TurnInterruptedError')

const MAX_PENDING = 50

/** System messages since the last prompt: the CLI takes none in mid-conversation, so the next prompt brings them. */
async function pendingSystemMessages(session: Session): Promise<string[]> {
  const types = ['system.message', 'user.message']
  const recent = await session.history({ types, descending: true, limit: MAX_PENDING })
  const lastPrompt = recent.findIndex(({ event }) => event.type === 'user.message')
  const pending = lastPrompt === -1 ? recent : recent.slice(0, lastPrompt)
  return pending.toReversed().map(({ event }) => textsOf(event).join('\n'))
}

const textsOf = (event: SessionEvent): string[] =>
  event.type === 'system.message' ? event.content.map(({ text }) => String(text)) : []
