import { CLIENT_TOOLS } from '../agents/question.ts'
import type { SDKMessage, SDKUserMessage } from '../driver/driver.ts'
import { partOf } from '../message-parts.ts'
import type { AnswerUsage, MessagePart, ModelFailure, PartBlock, TurnEnd } from '../message-parts.ts'
import { factsOf, isContext } from './prompt.ts'
import type {
  EventContent,
  EventPreview,
  ModelRequestUsage,
  NewSessionEvent,
  SessionErrorType,
  StatusIdleEvent,
} from '../journal/session-event.ts'
import { idle, newEventId, sessionError, toolUseEventId } from '../journal/session-event.ts'
import { keepNewest } from '../newest.ts'

/** What a message of the SDK amounts to. */
export interface Translation {
  events: NewSessionEvent[]
  previews: EventPreview[]
}

const ERROR_TYPES: Partial<Record<ModelFailure, SessionErrorType>> = {
  rate_limit: 'model_rate_limited_error',
  overloaded: 'model_overloaded_error',
  billing_error: 'billing_error',
}

function remember(calls: Set<string>, id: string): void {
  calls.add(id)
  keepNewest(calls, ROOM_FOR_CALLS)
}

const NO_USAGE: ModelRequestUsage = {
  input_tokens: 0,
  output_tokens: 0,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
}

/** The name of an MCP tool in two parts, as the CLI makes it. */
const MCP_TOOL = /^mcp__(.+?)__(.+)$/

const ROOM_FOR_CALLS = 1_000

/** Turns what an agent's process says in one session into events. Pure but for the ids that it makes up. */
export class EventTranslator {
  readonly #newId: () => string
  /** Ids of MCP calls without result: nothing in a result tells what kind of tool it is of. */
  readonly #mcpCalls = new Set<string>()
  /** Those whose results came from the client, and are told by it. */
  readonly #clientCalls = new Set<string>()
  #request: { id: string; messageId: string | undefined; usage: ModelRequestUsage; streamed?: true } | undefined
  /** Events that were announced and have not come, by type. */
  #announced: { type: 'agent.message' | 'agent.thinking'; id: string }[] = []
  #failed = false
  /** The model is asked again after a failure, and has not answered yet. */
  #rescheduled = false

  constructor(newId: () => string = newEventId) {
    this.#newId = newId
  }

  /** True while an answer of the model is being told piece by piece: its end is told too. */
  get inStream(): boolean {
    return this.#request?.streamed === true
  }

  /** `last`: the turn ends with this result. Before that, results are those of prompts that it had besides. */
  map(message: SDKMessage, last: boolean): Translation {
    const told: Translation = { events: [], previews: [] }
    const part = partOf(message)
    if (part !== undefined) this.#take(part, last, told)
    return told
  }

  /** The end of a turn without a result: `problem` is what to say of it, undefined when it was asked for. */
  end(problem: string | undefined): NewSessionEvent[] {
    const told: Translation = { events: [], previews: [] }
    this.#endRequest(told, true)
    this.#rescheduled = false
    if (problem !== undefined) told.events.push(sessionError('unknown_error', problem, 'exhausted'))
    told.events.push(idle({ type: problem === undefined ? 'end_turn' : 'retries_exhausted' }))
    return told.events
  }

  #take(part: MessagePart, last: boolean, told: Translation): void {
    switch (part.type) {
      case 'request':
        return this.#startRequest(undefined, told)
      case 'retry':
        told.events.push(retrying(part))
        if (!this.#rescheduled) told.events.push({ type: 'session.status_rescheduled' })
        this.#rescheduled = true
        return undefined
      case 'compacted':
        return void told.events.push({ type: 'agent.thread_context_compacted' })
      case 'answer':
        this.#goOn(told)
        this.#startRequest(part.answer, told)
        if (this.#request !== undefined) this.#request.streamed = true
        return this.#recordUsage(part.usage)
      case 'start':
        return this.#announce(part.block.type, told)
      case 'delta':
        return part.of === 'text' ? this.#delta(part.text, told) : undefined
      case 'stop':
        return undefined
      case 'usage':
        return this.#recordUsage(part.usage)
      case 'answered':
        return this.#endRequest(told, false)
      case 'blocks':
        return this.#answer(part, told)
      case 'results':
        return this.#results(part, told)
      case 'model_error':
        this.#failed = true
        this.#endRequest(told, true)
        return void told.events.push(sessionError(errorType(part.error), part.text, 'exhausted'))
      case 'end':
        return this.#ended(part.end, last, told)
    }
  }

  /** The model answers again. */
  #goOn(told: Translation): void {
    if (this.#rescheduled) told.events.push({ type: 'session.status_running' })
    this.#rescheduled = false
  }

  #startRequest(messageId: string | undefined, told: Translation): void {
    if (this.#request?.messageId === undefined && this.#request !== undefined) {
      this.#request.messageId = messageId
      return
    }
    this.#endRequest(told, false)
    const id = this.#newId()
    this.#request = { id, messageId, usage: NO_USAGE }
    told.events.push({ type: 'span.model_request_start', id })
  }

  #endRequest(told: Translation, isError: boolean): void {
    if (this.#request === undefined) return
    const { id, usage } = this.#request
    this.#request = undefined
    this.#announced = []
    told.events.push({
      type: 'span.model_request_end',
      model_request_start_id: id,
      is_error: isError,
      model_usage: usage,
    })
  }

  #announce(block: string, told: Translation): void {
    const type = previewed(block)
    if (type === undefined) return
    const event = { type, id: this.#newId() }
    this.#announced.push(event)
    told.previews.push({ type: 'event_start', event })
  }

  #delta(text: string, told: Translation): void {
    const event = this.#announced.findLast(({ type }) => type === 'agent.message')
    if (event === undefined) return
    told.previews.push({
      type: 'event_delta',
      event_id: event.id,
      delta: { type: 'content_delta', index: 0, content: { type: 'text', text } },
    })
  }

  #answer({ answer, blocks, usage }: Extract<MessagePart, { type: 'blocks' }>, told: Translation): void {
    this.#goOn(told)
    if (this.#request?.messageId !== answer) this.#startRequest(answer, told)
    this.#recordUsage(usage)
    for (const block of blocks) {
      const event = this.#block(block, answer)
      if (event !== undefined) told.events.push(event)
    }
  }

  #block(block: PartBlock, messageId: string): NewSessionEvent | undefined {
    switch (block.type) {
      case 'text': {
        if (block.text === '') return undefined
        const content = [{ type: 'text' as const, text: block.text }]
        return { type: 'agent.message', id: this.#arrived('agent.message'), content, sdk: { message_id: messageId } }
      }
      case 'thinking':
      case 'redacted_thinking':
        return { type: 'agent.thinking', id: this.#arrived('agent.thinking') }
      case 'tool_use':
        return this.#call(block, messageId)
    }
  }

  #arrived(type: 'agent.message' | 'agent.thinking'): string {
    const at = this.#announced.findIndex((event) => event.type === type)
    return at === -1 ? this.#newId() : (this.#announced.splice(at, 1)[0]?.id as string)
  }

  #call({ id, name, input }: { id: string; name: string; input: unknown }, messageId: string): NewSessionEvent {
    const event = toolUseEvent(id, name, input as Record<string, unknown>, messageId)
    if (event.type === 'agent.mcp_tool_use') remember(this.#mcpCalls, id)
    if (event.type === 'agent.custom_tool_use') remember(this.#clientCalls, id)
    return event
  }

  #results({ results }: Extract<MessagePart, { type: 'results' }>, told: Translation): void {
    for (const { toolUseId, content, failed } of results) {
      // The next request begins after the results; without partial messages this is the first sign that the last one is over.
      this.#endRequest(told, false)
      if (this.#clientCalls.delete(toolUseId)) continue
      const result = { content: contentOf(content), is_error: failed }
      const id = toolUseEventId(toolUseId)
      if (this.#mcpCalls.delete(toolUseId)) {
        told.events.push({ type: 'agent.mcp_tool_result', mcp_tool_use_id: id, ...result })
      } else {
        told.events.push({ type: 'agent.tool_result', tool_use_id: id, ...result })
      }
    }
  }

  #ended(end: TurnEnd, last: boolean, told: Translation): void {
    this.#endRequest(told, end.failed)
    if (!last) return
    this.#rescheduled = false
    const failed = this.#failed
    this.#failed = false
    const problem = failed ? undefined : problemOf(end)
    if (problem !== undefined) told.events.push(problem)
    const refusal = end.refused ? ({ type: 'refusal', category: null, explanation: null } as const) : null
    told.events.push(idle(stopReason(end, failed || problem !== undefined), refusal))
  }

  #recordUsage(usage: AnswerUsage): void {
    if (this.#request === undefined) return
    const before = this.#request.usage
    this.#request.usage = {
      input_tokens: usage.input_tokens ?? before.input_tokens,
      output_tokens: Math.max(usage.output_tokens ?? 0, before.output_tokens),
      cache_creation_input_tokens: usage.cache_creation_input_tokens ?? before.cache_creation_input_tokens,
      cache_read_input_tokens: usage.cache_read_input_tokens ?? before.cache_read_input_tokens,
    }
  }
}

/** The event of a tool call, by the SDK's id of the call. `messageId`: of the answer that it came in, where that is known. */
export function toolUseEvent(
  toolUseId: string,
  name: string,
  input: Record<string, unknown>,
  messageId?: string,
): NewSessionEvent {
  const [, server, tool] = MCP_TOOL.exec(name) ?? []
  const id = toolUseEventId(toolUseId)
  const sdk = { tool_use_id: toolUseId, ...(messageId === undefined ? {} : { message_id: messageId }) }
  if (server === undefined || tool === undefined) return { type: 'agent.tool_use', id, name, input, sdk }
  if (server === CLIENT_TOOLS) return { type: 'agent.custom_tool_use', id, name: tool, input, sdk }
  return { type: 'agent.mcp_tool_use', id, mcp_server_name: server, name: tool, input, sdk }
}

/** The event of a prompt. */
export function promptEvent(prompt: SDKUserMessage): NewSessionEvent {
  return { type: 'user.message', content: contentOf(prompt.message.content), ...factsOf(prompt) }
}

const errorType = (error: ModelFailure): SessionErrorType => ERROR_TYPES[error] ?? 'model_request_failed_error'

const previewed = (block: string): 'agent.message' | 'agent.thinking' | undefined =>
  block === 'text' ? 'agent.message' : block.endsWith('thinking') ? 'agent.thinking' : undefined

function retrying({ error, status, attempt, most }: Extract<MessagePart, { type: 'retry' }>): NewSessionEvent {
  const how = status === null ? 'no answer' : `status ${status}`
  const text = `the model API failed (${error}, ${how}); attempt ${attempt} of ${most}`
  return sessionError(errorType(error), text, 'retrying')
}

function problemOf({ aborted, failed, subtype, text, errors, rounds }: TurnEnd): NewSessionEvent | undefined {
  if (aborted || subtype === 'error_max_budget_usd') return undefined
  if (subtype === 'success') return failed ? sessionError('unknown_error', text, 'exhausted') : undefined
  if (subtype === 'error_max_turns')
    return sessionError('tool_use_limit_reached_error', `stopped after ${rounds} rounds`, 'exhausted')
  return sessionError('unknown_error', errors.join('\n') || subtype, 'exhausted')
}

function stopReason({ subtype, refused }: TurnEnd, failed: boolean): StatusIdleEvent['stop_reason'] {
  if (subtype === 'error_max_budget_usd') return { type: 'budget_reached' }
  if (failed) return { type: 'retries_exhausted' }
  return { type: refused ? 'refusal' : 'end_turn' }
}

const KEPT_CONTENT = new Set(['text', 'image', 'document', 'search_result'])

/** Content blocks as events have them. */
function contentOf(content: unknown): EventContent[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  if (!Array.isArray(content)) return []
  const said = (content as EventContent[]).filter((block) => !isContext(block))
  return said.map((block) => {
    const { cache_control: _, ...rest } = block
    return KEPT_CONTENT.has(block.type) ? (rest as EventContent) : { type: 'text', text: JSON.stringify(rest) }
  })
}
