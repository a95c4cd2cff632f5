import type { NewSessionEvent, NumberedEvent, Session, SessionEvent, TurnInput } from '../../../index.ts'
import { FencedError, SessionBusyError } from '../../../index.ts'
import type { SentBlock } from '../../content-block.ts'
import { ApiError, toApiError } from '../../errors.ts'
import type { Mint } from '../../context.ts'
import { mintedId, storedEvent } from '../../http/passed-on.ts'
import type { Quotas } from '../../limits.ts'
import type { Questions } from '../../questions.ts'
import type { Attachments } from './attachments.ts'
import { CallAnswers } from './call-answers.ts'
import type { Budgets } from './budgets.ts'
import type { FileSources } from '../files/file-sources.ts'
import type { ApiSessions, Found } from './sessions.ts'
import type { SentEvent } from './session-schema.ts'

interface EventsContext {
  sessions: ApiSessions
  attachments: Attachments
  questions: Questions
  quotas: Pick<Quotas, 'keep'>
  budgets: Budgets
  files: Pick<FileSources, 'resolve'>
}

/** Takes what clients send to a session: each event is durable before it is answered. */
export class SentEvents {
  readonly #context: EventsContext
  readonly #answers: CallAnswers

  constructor(context: EventsContext) {
    this.#context = context
    this.#answers = new CallAnswers(context.questions, context.files)
  }

  /**
   * Takes the events in their order, in the name of `by`. What was taken before one that is refused stays, and the error says
   * so. Their ids come from `mint`; what an earlier try of the request has added is not added again. Throws ApiError.
   */
  async sendAll(found: Found, events: readonly SentEvent[], by: string, mint?: Mint): Promise<SessionEvent[]> {
    const taken: SessionEvent[] = []
    try {
      await this.send(found, events, by, { taken, mint })
    } catch (error) {
      // Tried again at the session's next host, what was taken is not taken twice.
      if (taken.length === 0 || (mint !== undefined && error instanceof FencedError)) throw error
      throw afterSome(toApiError(error), taken.length)
    }
    return taken
  }

  /** The same, for a caller that undoes what was `taken` when an error is thrown. */
  async send(
    found: Found,
    events: readonly SentEvent[],
    by: string,
    { taken = [], mint }: { taken?: SessionEvent[]; mint?: Mint | undefined } = {},
  ): Promise<void> {
    const { resource } = found
    if (resource.archived_at !== null) throw new ApiError('invalid_request_error', `session ${resource.id} is archived`)
    if (events.length === 0) return
    await this.#context.sessions.withNews(found, async () => {
      for (const [index, event] of events.entries()) {
        const id = mint && mintedId(mint, index)
        const before = id !== undefined && mint?.isRepeat === true ? await storedEvent(found.session, id) : undefined
        taken.push(before ?? (await this.#take(found, event, by, id)))
      }
    })
  }

  #take(found: Found, event: SentEvent, by: string, id: string | undefined): Promise<SessionEvent> {
    const named = id === undefined ? {} : { id }
    switch (event.type) {
      case 'user.message':
        return this.#message(found, event.content, id)
      case 'user.interrupt':
        return this.#interrupt(found, named)
      case 'user.tool_confirmation':
        return this.#answers.confirm(found, event, by, named)
      case 'user.custom_tool_result':
        return this.#answers.result(found, event, by, named)
      case 'system.message':
        this.#context.quotas.keep(found.tenant)
        return append(found.session, { ...event, ...named, processed_at: null })
    }
  }

  async #message(found: Found, content: SentBlock[], id: string | undefined): Promise<SessionEvent> {
    const { sessions, attachments, questions, quotas, budgets, files } = this.#context
    const { tenant, session } = found
    quotas.keep(tenant)
    await sessions.checkAgent(found)
    await sessions.checkBudget(found)
    if (questions.open(tenant, session.key).length > 0)
      throw new ApiError(
        'invalid_request_error',
        'the session waits for an answer to what it asked; send user.tool_confirmation, user.custom_tool_result, or user.interrupt',
      )
    const remembered = await attachments.remember(found)
    const context = [...remembered, ...(await pendingSystemMessages(session))]
    const input = (await files.resolve(tenant, content)) as TurnInput
    const showPrompt = (input as unknown) === content ? {} : { showPrompt: content }
    const eventId = id === undefined ? {} : { eventId: id }
    // A message to a turn that runs goes to that turn; behind one that is ending it waits.
    for (const onBusy of ['steer', 'queue'] as const) {
      const turn = budgets.start(found, (lastEvents) =>
        session.send(input, { context, onBusy, onLeave: 'detach', lastEvents, ...eventId, ...showPrompt }),
      )
      try {
        attachments.follow(found, turn)
        const accepted = await turn.promptStored
        if (accepted !== undefined) return accepted.event
      } catch (error) {
        if (onBusy === 'queue' || !isTooLate(error)) throw error
      }
    }
    throw new ApiError('invalid_request_error', 'the server keeps no events, so that this API cannot be served')
  }

  async #interrupt({ session }: Found, named: { id?: string }): Promise<SessionEvent> {
    const event = await append(session, { type: 'user.interrupt', ...named })
    await session.interrupt()
    return event
  }
}

/** The error of the event behind some that were taken: sent again as it is, the request would do those twice. */
function afterSome({ type, message, status, headers }: ApiError, taken: number): ApiError {
  const before = taken === 1 ? 'the event before it was' : `the ${taken} events before it were`
  return new ApiError(type, `events.${taken}: ${message}; ${before} taken`, {
    status,
    headers: { ...headers, 'x-should-retry': 'false' },
    happened: true,
  })
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
