import { EventType } from '@ag-ui/core'
import type { AGUIEvent, Message, RunAgentInput } from '@ag-ui/core'
import type { Session } from '../../index.ts'
import { messagesOf, readConversation } from './history.ts'
import type { SaidMessages } from './said-messages.ts'
import { merge, snapshots, withoutThoughts } from './merge.ts'
import type { ThreadTurn } from './threads.ts'
import { resultEvent, textEvents, toolEvents } from './told-events.ts'
import { Translator } from './translator.ts'
import type { Holdings, Told } from './translator.ts'

/** Whom to bring up to what. */
export interface CatchUpParts {
  input: RunAgentInput
  session: Session
  said: SaidMessages
  /** The message of the user before those of the turn, as the session knows it; undefined: there is none. */
  before: string | undefined
}

type Turn = Pick<ThreadTurn, 'told' | 'messages' | 'number' | 'begins'>

/** Brings a front end to what the session has, by what it says that it shows. */
export class CatchUp {
  readonly #session: Session
  readonly #said: SaidMessages
  /** What the front end shows by now. */
  #shown: Message[]
  /** True when it shows what was said before the turn: only what follows has to be read. */
  readonly #hasHistory: boolean
  #whole = new Set<string>()

  constructor({ input: { messages }, session, said, before }: CatchUpParts) {
    this.#session = session
    this.#said = said
    this.#shown = messages
    this.#hasHistory = before === undefined || messages.some(({ id }) => id === before)
  }

  /** Before the turn is followed: what it has said so far, without what was told by half. `fresh`: this run begins it. */
  async toTurn({ told, messages, number, begins }: Turn, fresh: boolean): Promise<AGUIEvent[]> {
    if (fresh) return this.#hasHistory ? [] : this.#toPrompt(await number())
    const session = await this.#read({ after: await begins() })
    const known = new Set(session.flatMap(idsOf))
    for (const message of this.#shown) for (const id of idsOf(message)) if (told.get(id) === 'whole') known.add(id)
    this.#whole = known
    const ids = new Set(messages.map(({ id }) => id))
    const prompt = session.findLastIndex(({ id, role }) => (ids.size === 0 ? role === 'user' : ids.has(id)))
    return this.#retell(withoutParts(this.#shown, told, known), session, prompt)
  }

  /** What was said before a prompt that is new. */
  async #toPrompt(number: number | undefined): Promise<AGUIEvent[]> {
    const before = number === undefined ? undefined : number + 1
    return this.#show(merge(this.#shown, await this.#read({ before })))
  }

  /** After the turn has ended. */
  async toEnd({ begins }: Pick<Turn, 'begins'>): Promise<AGUIEvent[]> {
    const after = await begins()
    if (after === undefined) return []
    const wanted = merge(this.#shown, await this.#read({ after }))
    return [snapshot(withoutThoughts(wanted))]
  }

  /** The whole conversation. */
  async toHistory(): Promise<AGUIEvent[]> {
    return this.#show(merge(this.#shown, await this.#read({})))
  }

  /** An answer that was given before, as if it were given now. `number`: of the event of its prompt, the message `id`. */
  async toAnswer(id: string, number: number | undefined): Promise<AGUIEvent[]> {
    const session = await this.#read({ after: number })
    const prompt = session.findLastIndex((message) => message.id === id)
    const events = this.#retell(this.#shown, session, prompt)
    return [...events, snapshot(withoutThoughts(this.#shown))]
  }

  /** Shows the conversation up to the prompt, then tells what the front end lacks of the answer as if it were said now. */
  #retell(shown: readonly Message[], session: readonly Message[], prompt: number): AGUIEvent[] {
    const known = new Set(shown.flatMap(idsOf))
    const results = new Set(shown.flatMap(resultOf))
    const isAnswer = (message: Message, index: number): boolean =>
      index > prompt &&
      (idsOf(message).some((id) => !known.has(id)) || resultOf(message).some((id) => !results.has(id)))
    const history = this.#show(
      merge(
        shown,
        session.filter((message, index) => !isAnswer(message, index)),
      ),
    )
    const answer = session.filter(isAnswer).flatMap((message) => eventsOf(message, known))
    this.#shown = merge(this.#shown, session)
    return [...history, ...answer]
  }

  /** For what the turn says from now on. */
  translator(turn: { told: Told; clientCalls: Set<string> }): Translator {
    const holdings: Holdings = {
      whole: this.#whole,
      results: new Set(this.#shown.flatMap(resultOf)),
      thoughts: new Map(
        this.#shown.flatMap((message) =>
          message.role === 'reasoning' ? [[message.id, message.content.length] as const] : [],
        ),
      ),
    }
    return new Translator(holdings, turn)
  }

  /** From this event on, if the front end shows what was before it. */
  async #read({ after, before }: { after?: number | undefined; before?: number | undefined }): Promise<Message[]> {
    const from = this.#hasHistory && after !== undefined ? after - 1 : 0
    const events = (await readConversation(this.#session, { after: from, before })) ?? []
    // What the front end is shown it sends back, as something that the agent has had.
    this.#said.learn(events)
    return messagesOf(events)
  }

  #show(wanted: Message[]): AGUIEvent[] {
    const events = snapshots(this.#shown, wanted).map(snapshot)
    this.#shown = wanted
    return events
  }
}

// What is told later must not change what was sent.
const snapshot = (messages: Message[]): AGUIEvent => ({
  type: EventType.MESSAGES_SNAPSHOT,
  messages: structuredClone(messages),
})

/** The ids under which a message of the agent is told: of its text, and of its tool calls. */
function idsOf(message: Message): string[] {
  if (message.role !== 'assistant') return []
  const calls = (message.toolCalls ?? []).map(({ id }) => id)
  return (message.content ?? '') === '' ? calls : [message.id, ...calls]
}

const resultOf = (message: Message): string[] => (message.role === 'tool' ? [message.toolCallId] : [])

/** Without what was told by half and comes again. */
function withoutParts(shown: readonly Message[], told: Told, known: ReadonlySet<string>): Message[] {
  const isPart = (id: string): boolean => told.get(id) === 'partly' && !known.has(id)
  return shown.flatMap((message): Message[] => {
    if (message.role !== 'assistant' || !idsOf(message).some(isPart)) return [message]
    const { content = '', toolCalls = [], ...rest } = message
    const text = isPart(message.id) ? '' : content
    const calls = toolCalls.filter(({ id }) => !isPart(id))
    if (text === '' && calls.length === 0) return []
    return [{ ...rest, ...(text === '' ? {} : { content: text }), ...(calls.length === 0 ? {} : { toolCalls: calls }) }]
  })
}

/** A message of the agent as if it were said now, without what the front end has of it. */
function eventsOf(message: Message, known: ReadonlySet<string>): AGUIEvent[] {
  if (message.role === 'tool') return [resultEvent(message.toolCallId, message.content as string)]
  if (message.role !== 'assistant') return []
  const { id, content = '', toolCalls = [] } = message
  const text = content === '' || known.has(id) ? [] : textEvents(id, content)
  const calls = toolCalls.flatMap((call) =>
    known.has(call.id) ? [] : toolEvents(call.id, call.function.name, call.function.arguments, id),
  )
  return [...text, ...calls]
}
