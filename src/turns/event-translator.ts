import { CLIENT_TOOLS } from '../agents/question.ts'
import type { SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
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

type Assistant = Extract<SDKMessage, { type: 'assistant' }>
type Partial_ = Extract<SDKMessage, { type: 'stream_event' }>
type Failure = NonNullable<Assistant['error']>

/** What a message of the SDK amounts to. */
export interface Translation {
  events: NewSessionEvent[]
  previews: EventPreview[]
}

const ERROR_TYPES: Partial<Record<Failure, SessionErrorType>> = {
  rate_limit: 'model_rate_limited_error',
  overloaded: 'model_overloaded_error',
  billing_error: 'billing_error',
}

function remember(calls: Set<string>, id: string): void {
  calls.add(id)
  const [oldest] = calls
  if (calls.size > ROOM_FOR_CALLS && oldest !== undefined) calls.delete(oldest)
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
    // Subagents have conversations of their own; this one has their calls and what they came to.
    if ('parent_tool_use_id' in message && message.parent_tool_use_id !== null) return told
    if (message.type === 'stream_event') this.#partial(message, told)
    else if (message.type === 'assistant') this.#assistant(message, told)
    else if (message.type === 'user') this.#results(message, told)
    else if (message.type === 'result') this.#ended(message, last, told)
    else if (message.type === 'system') this.#system(message, told)
    return told
  }

  /** The end of a turn without a result: `problem` is what to say of it, undefined when it was asked for. */
  end(problem: string | undefined): NewSessionEvent[] {
    const told: Translation = { events: [], previews: [] }
    this.#endRequest(told, true)
    if (problem !== undefined) told.events.push(sessionError('unknown_error', problem, 'exhausted'))
    told.events.push(idle({ type: problem === undefined ? 'end_turn' : 'retries_exhausted' }))
    return told.events
  }

  #system(message: Extract<SDKMessage, { type: 'system' }>, told: Translation): void {
    if (message.subtype === 'status' && message.status === 'requesting') this.#startRequest(undefined, told)
    else if (message.subtype === 'compact_boundary') told.events.push({ type: 'agent.thread_context_compacted' })
    else if (message.subtype === 'api_retry') {
      const how = message.error_status === null ? 'no answer' : `status ${message.error_status}`
      const text = `the model API failed (${message.error}, ${how}); attempt ${message.attempt} of ${message.max_retries}`
      told.events.push(sessionError(errorType(message.error), text, 'retrying'))
    }
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

  #partial({ event }: Partial_, told: Translation): void {
    switch (event.type) {
      case 'message_start':
        this.#startRequest(event.message.id, told)
        if (this.#request !== undefined) this.#request.streamed = true
        this.#recordUsage(event.message.usage)
        break
      case 'content_block_start': {
        const type = previewed(event.content_block.type)
        if (type !== undefined) this.#announce(type, told)
        break
      }
      case 'content_block_delta':
        if (event.delta.type === 'text_delta') this.#delta(event.delta.text, told)
        break
      case 'message_delta':
        this.#recordUsage(event.usage)
        break
      case 'message_stop':
        this.#endRequest(told, false)
        break
      default:
    }
  }

  #announce(type: 'agent.message' | 'agent.thinking', told: Translation): void {
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

  #assistant({ message, error }: Assistant, told: Translation): void {
    if (error !== undefined) {
      // What the CLI says in the model's place.
      this.#failed = true
      this.#endRequest(told, true)
      told.events.push(sessionError(errorType(error), textOf(message.content), 'exhausted'))
      return
    }
    if (this.#request?.messageId !== message.id) this.#startRequest(message.id, told)
    this.#recordUsage(message.usage)
    for (const block of message.content) {
      if (block.type === 'text') {
        if (block.text !== '') {
          const content = [{ type: 'text' as const, text: block.text }]
          const sdk = { message_id: message.id }
          told.events.push({ type: 'agent.message', id: this.#arrived('agent.message'), content, sdk })
        }
      } else if (block.type === 'thinking' || block.type === 'redacted_thinking') {
        told.events.push({ type: 'agent.thinking', id: this.#arrived('agent.thinking') })
      } else if (block.type === 'tool_use') {
        told.events.push(this.#call(block, message.id))
      }
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

  #results({ message }: Extract<SDKMessage, { type: 'user' }>, told: Translation): void {
    if (typeof message.content === 'string') return
    for (const block of message.content) {
      if (block.type !== 'tool_result') continue
      // The next request begins after the results; without partial messages this is the first sign that the last one is over.
      this.#endRequest(told, false)
      if (this.#clientCalls.delete(block.tool_use_id)) continue
      const result = { content: contentOf(block.content), is_error: block.is_error ?? false }
      const id = toolUseEventId(block.tool_use_id)
      if (this.#mcpCalls.delete(block.tool_use_id)) {
        told.events.push({ type: 'agent.mcp_tool_result', mcp_tool_use_id: id, ...result })
      } else {
        told.events.push({ type: 'agent.tool_result', tool_use_id: id, ...result })
      }
    }
  }

  #ended(result: SDKResultMessage, last: boolean, told: Translation): void {
    this.#endRequest(told, result.is_error)
    if (!last) return
    const failed = this.#failed
    this.#failed = false
    const problem = failed ? undefined : problemOf(result)
    if (problem !== undefined) told.events.push(problem)
    told.events.push(idle(stopReason(result, failed || problem !== undefined), refusalOf(result)))
  }

  #recordUsage(usage: { [name in keyof ModelRequestUsage]?: number | null }): void {
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

const errorType = (error: Failure): SessionErrorType => ERROR_TYPES[error] ?? 'model_request_failed_error'

const previewed = (block: string): 'agent.message' | 'agent.thinking' | undefined =>
  block === 'text' ? 'agent.message' : block.endsWith('thinking') ? 'agent.thinking' : undefined

const wasInterrupted = ({ terminal_reason: reason }: SDKResultMessage): boolean =>
  reason === 'aborted_streaming' || reason === 'aborted_tools'

function problemOf(result: SDKResultMessage): NewSessionEvent | undefined {
  if (wasInterrupted(result)) return undefined
  if (result.subtype === 'success') {
    return result.is_error ? sessionError('unknown_error', result.result, 'exhausted') : undefined
  }
  if (result.subtype === 'error_max_budget_usd') return undefined
  if (result.subtype === 'error_max_turns') {
    return sessionError('tool_use_limit_reached_error', `stopped after ${result.num_turns} rounds`, 'exhausted')
  }
  return sessionError('unknown_error', result.errors.join('\n') || result.subtype, 'exhausted')
}

function stopReason(result: SDKResultMessage, failed: boolean): StatusIdleEvent['stop_reason'] {
  if (result.subtype === 'error_max_budget_usd') return { type: 'budget_reached' }
  if (failed) return { type: 'retries_exhausted' }
  return { type: result.stop_reason === 'refusal' ? 'refusal' : 'end_turn' }
}

const refusalOf = (result: SDKResultMessage): StatusIdleEvent['stop_details'] =>
  result.stop_reason === 'refusal' ? { type: 'refusal', category: null, explanation: null } : null

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

const textOf = (content: readonly { type: string }[]): string =>
  content.flatMap((block) => ('text' in block ? [String(block.text)] : [])).join('\n')
