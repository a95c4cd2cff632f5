import type { AssistantMessage, Message, ToolCall } from '@ag-ui/core'
import type { EventContent, NumberedEvent, Session, SessionEvent } from '../../index.ts'
import { ConfigError } from '../../index.ts'
import { partsOf } from './content.ts'

/** What AG-UI keeps with a prompt: which of its blocks were which message of the user. */
export interface SaidMark {
  messages: readonly { id: string; blocks: number }[]
  /** How many turns were before it when it was sent. Default 0. */
  behind?: number
  /** True for a prompt that was added to a turn that ran. */
  steers?: boolean
}

/** One message of the user as an event has it. */
export interface SaidMessage {
  id: string
  content: EventContent[]
}

/** The events that make up a conversation. */
const CONVERSATION = [
  'user.message',
  'user.custom_tool_result',
  'agent.message',
  'agent.tool_use',
  'agent.mcp_tool_use',
  'agent.custom_tool_use',
  'agent.tool_result',
  'agent.mcp_tool_result',
]

const PAGE = 200

/** A front end is shown the newest of a very long conversation. */
const MOST_EVENTS = 2_000

/** Characters of JSON. */
const MOST_SIZE = 16 * 1024 * 1024

/**
 * The events of a conversation between these numbers, oldest first: all, or the newest of very many. Undefined where the pool
 * keeps none. Throws StoreError, SessionGoneError, PoolClosedError.
 */
export async function readConversation(
  session: Session,
  { after = 0, before: end }: { after?: number; before?: number | undefined },
): Promise<NumberedEvent[] | undefined> {
  const newestFirst: NumberedEvent[] = []
  let size = 0
  let before = end
  try {
    for (;;) {
      const range = { after, ...(before === undefined ? {} : { before }), types: CONVERSATION, descending: true }
      const page = await session.history({ ...range, limit: PAGE })
      for (const entry of page) {
        size += JSON.stringify(entry.event).length
        if (newestFirst.length >= MOST_EVENTS || (size > MOST_SIZE && newestFirst.length > 0))
          return newestFirst.toReversed()
        newestFirst.push(entry)
      }
      before = page.at(-1)?.number
      if (page.length < PAGE) return newestFirst.toReversed()
    }
  } catch (error) {
    if (keepsNone(error)) return undefined
    throw error
  }
}

/** True for what `history()` throws where events are not kept. */
export const keepsNone = (error: unknown): boolean => error instanceof ConfigError && error.path === 'events'

/** The user's messages of the newest prompts, newest first, `limit` events at most. */
export function readPrompts(session: Session, before: number | undefined, limit: number): Promise<NumberedEvent[]> {
  return session.history({
    ...(before === undefined ? {} : { before }),
    types: ['user.message'],
    descending: true,
    limit,
  })
}

/** True for a call of a front end's own tool that the agent has made after the event of this number. */
export async function hasClientCall(session: Session, after: number, toolCallId: string): Promise<boolean> {
  const calls = await session.history({ after, types: ['agent.custom_tool_use'], limit: PAGE })
  return calls.some(({ event }) => event.type === 'agent.custom_tool_use' && event.sdk?.tool_use_id === toolCallId)
}

/** The mark of a prompt that came by AG-UI. */
export function markOf(event: SessionEvent): SaidMark | undefined {
  if (event.type !== 'user.message') return undefined
  return event.metadata?.['ag_ui'] as SaidMark | undefined
}

/** The user's messages of a prompt, oldest first. One that came by another way has the id of its event. */
export function saidIn(event: SessionEvent): SaidMessage[] {
  if (event.type !== 'user.message') return []
  const mark = markOf(event)
  if (mark === undefined) return [{ id: event.id, content: event.content }]
  let at = 0
  return mark.messages.map(({ id, blocks }) => {
    const content = event.content.slice(at, at + blocks)
    at += blocks
    return { id, content }
  })
}

/** The id of a text of the model's answer: several may be in one. */
export const textId = (message: string, index: number): string => (index === 0 ? message : `${message}:${index}`)

/** The id of the message with a tool's result. */
export const resultId = (toolCallId: string): string => `${toolCallId}:result`

/** The messages of a conversation. */
export function messagesOf(events: readonly NumberedEvent[]): Message[] {
  const conversation = new Conversation()
  for (const { event } of events) conversation.add(event)
  return conversation.messages
}

class Conversation {
  readonly messages: Message[] = []
  readonly #byId = new Map<string, Message>()
  /** Texts so far, by the id of the answer. */
  readonly #texts = new Map<string, number>()
  /** Calls without a result, by the ids of their events. */
  readonly #calls = new Map<string, { id: string; owner: AssistantMessage }>()

  add(event: SessionEvent): void {
    switch (event.type) {
      case 'user.message':
        for (const said of saidIn(event)) this.#user(said, event.id)
        break
      case 'agent.message':
        this.#text(event.sdk?.message_id ?? event.id, event.content.map(({ text }) => text).join('\n'))
        break
      case 'agent.tool_use':
      case 'agent.custom_tool_use':
        this.#call(event, event.name)
        break
      case 'agent.mcp_tool_use':
        this.#call(event, `mcp__${event.mcp_server_name}__${event.name}`)
        break
      case 'agent.tool_result':
        this.#result(event.tool_use_id, event.content)
        break
      case 'agent.mcp_tool_result':
        this.#result(event.mcp_tool_use_id, event.content)
        break
      case 'user.custom_tool_result':
        this.#result(event.custom_tool_use_id, event.content)
        break
      default:
    }
  }

  /** What was sent again is there once; of what was changed under its id, the newest has the id. */
  #user({ id, content }: SaidMessage, eventId: string): void {
    const parts = partsOf(content)
    const before = this.#byId.get(id)
    if (before?.role === 'user' && JSON.stringify(before.content) === JSON.stringify(parts)) return
    if (before !== undefined) before.id = `${id}:${eventId}`
    this.#add({ id, role: 'user', content: parts })
  }

  #text(answer: string, text: string): void {
    const index = this.#texts.get(answer) ?? 0
    this.#texts.set(answer, index + 1)
    this.#assistant(textId(answer, index)).content = text
  }

  #call(event: Extract<SessionEvent, { type: `agent.${string}tool_use` }>, name: string): void {
    const id = event.sdk?.tool_use_id ?? event.id
    const owner = this.#assistant(event.sdk?.message_id ?? id)
    this.#calls.set(event.id, { id, owner })
    const call: ToolCall = { id, type: 'function', function: { name, arguments: JSON.stringify(event.input) } }
    owner.toolCalls = [...(owner.toolCalls ?? []), call]
  }

  /** A result follows the call, and results that are there already. */
  #result(eventId: string, content: readonly EventContent[] | undefined): void {
    const call = this.#calls.get(eventId)
    if (call === undefined) return
    this.#calls.delete(eventId)
    let at = this.messages.lastIndexOf(call.owner) + 1
    while (this.messages[at]?.role === 'tool') at += 1
    const { id: toolCallId } = call
    this.messages.splice(at, 0, { id: resultId(toolCallId), role: 'tool', toolCallId, content: toolText(content) })
  }

  #assistant(id: string): AssistantMessage {
    const known = this.#byId.get(id)
    return known?.role === 'assistant' ? known : this.#add({ id, role: 'assistant' })
  }

  #add<Kind extends Message>(message: Kind): Kind {
    this.messages.push(message)
    this.#byId.set(message.id, message)
    return message
  }
}

/** The text of a tool's result; what is no text is named. */
export function toolText(content: string | readonly { type: string; text?: unknown }[] | undefined): string {
  if (typeof content === 'string') return content
  const texts = (content ?? []).map(({ type, text }) => (typeof text === 'string' ? text : `[${type}]`))
  return texts.join('\n')
}
