import { createHash, randomUUID } from 'node:crypto'

/** Events of a session, in the shapes of Anthropic's Managed Agents API. */

/** Text, an image or a document, as the Messages API has them. */
export interface EventContent {
  type: string
  [key: string]: unknown
}

interface Identified {
  /** Unique: `sevt_…`. */
  id: string
}

/** What a user sends. `processed_at` is null until it is worked on. */
interface Sent extends Identified {
  processed_at: string | null
}

/** What happened. Times are RFC 3339. */
interface Happened extends Identified {
  processed_at: string
}

export interface UserMessageEvent extends Sent {
  type: 'user.message'
  content: EventContent[]
  /** What its sender keeps with it: `metadata` of `send()`. The Managed Agents API does not show it. */
  metadata?: Readonly<Record<string, unknown>>
}

/** What the SDK's messages call the same. The Managed Agents API does not show it. */
export interface SdkIds {
  /** The answer of the model that it came in. */
  message_id?: string
  tool_use_id?: string
}

export interface UserInterruptEvent extends Sent {
  type: 'user.interrupt'
}

export interface UserToolConfirmationEvent extends Sent {
  type: 'user.tool_confirmation'
  tool_use_id: string
  result: 'allow' | 'deny'
  deny_message?: string | null
}

export interface UserCustomToolResultEvent extends Sent {
  type: 'user.custom_tool_result'
  custom_tool_use_id: string
  content?: EventContent[]
  is_error?: boolean | null
}

export interface SystemMessageEvent extends Sent {
  type: 'system.message'
  content: EventContent[]
}

export interface AgentMessageEvent extends Happened {
  type: 'agent.message'
  content: { type: 'text'; text: string }[]
  sdk?: SdkIds
}

/** The agent has thought. The event does not contain the thinking. */
export interface AgentThinkingEvent extends Happened {
  type: 'agent.thinking'
}

export interface AgentToolUseEvent extends Happened {
  type: 'agent.tool_use'
  name: string
  input: Record<string, unknown>
  sdk?: SdkIds
  /**
   * The permission: the call runs, waits for an answer, or is refused. Left out when its turn ended before that was
   * known.
   */
  evaluated_permission?: 'allow' | 'ask' | 'deny'
}

export interface AgentMcpToolUseEvent extends Happened {
  type: 'agent.mcp_tool_use'
  mcp_server_name: string
  name: string
  input: Record<string, unknown>
  sdk?: SdkIds
  evaluated_permission?: 'allow' | 'ask' | 'deny'
}

export interface AgentCustomToolUseEvent extends Happened {
  type: 'agent.custom_tool_use'
  name: string
  input: Record<string, unknown>
  sdk?: SdkIds
}

export interface AgentToolResultEvent extends Happened {
  type: 'agent.tool_result'
  /** The id of the `agent.tool_use` event. */
  tool_use_id: string
  content?: EventContent[]
  is_error?: boolean | null
}

export interface AgentMcpToolResultEvent extends Happened {
  type: 'agent.mcp_tool_result'
  mcp_tool_use_id: string
  content?: EventContent[]
  is_error?: boolean | null
}

/** The conversation was summarised to make room. */
export interface AgentContextCompactedEvent extends Happened {
  type: 'agent.thread_context_compacted'
}

export interface StatusRunningEvent extends Happened {
  type: 'session.status_running'
}

/** The model API failed and is asked again: the turn goes on with the next `session.status_running`. */
export interface StatusRescheduledEvent extends Happened {
  type: 'session.status_rescheduled'
}

export interface StatusIdleEvent extends Happened {
  type: 'session.status_idle'
  /** `end_turn` also after an interrupt. `requires_action` names what waits for an answer. */
  stop_reason:
    | { type: 'end_turn' | 'retries_exhausted' | 'budget_reached' | 'refusal' }
    | { type: 'requires_action'; event_ids: string[] }
  stop_details: { type: 'refusal'; category: null; explanation: string | null } | null
}

/** What kind of failure it was. */
export type SessionErrorType =
  | 'unknown_error'
  | 'model_overloaded_error'
  | 'model_rate_limited_error'
  | 'model_request_failed_error'
  | 'billing_error'
  | 'tool_use_limit_reached_error'

export interface SessionErrorEvent extends Happened {
  type: 'session.error'
  error: (
    | { type: SessionErrorType }
    | { type: 'mcp_connection_failed_error' | 'mcp_authentication_failed_error'; mcp_server_name: string }
  ) & {
    message: string
    /** `retrying`: it goes on by itself. `exhausted`: the turn is over. */
    retry_status: { type: 'retrying' | 'exhausted' | 'terminal' }
  }
}

/** Only the fields that changed. */
export interface SessionUpdatedEvent extends Happened {
  type: 'session.updated'
  title?: string | null
  metadata?: Record<string, string>
  agent?: unknown
  budget?: unknown
}

export interface SessionUsageEvent extends Happened {
  type: 'session.usage'
  usage: unknown
  budget?: unknown
}

export interface ModelRequestStartEvent extends Happened {
  type: 'span.model_request_start'
}

export interface ModelRequestEndEvent extends Happened {
  type: 'span.model_request_end'
  model_request_start_id: string
  is_error: boolean | null
  model_usage: ModelRequestUsage
}

/** Tokens of one request. */
export interface ModelRequestUsage {
  input_tokens: number
  output_tokens: number
  cache_creation_input_tokens: number
  cache_read_input_tokens: number
}

/** An event that is kept. */
export type SessionEvent =
  | UserMessageEvent
  | UserInterruptEvent
  | UserToolConfirmationEvent
  | UserCustomToolResultEvent
  | SystemMessageEvent
  | AgentMessageEvent
  | AgentThinkingEvent
  | AgentToolUseEvent
  | AgentMcpToolUseEvent
  | AgentCustomToolUseEvent
  | AgentToolResultEvent
  | AgentMcpToolResultEvent
  | AgentContextCompactedEvent
  | StatusRunningEvent
  | StatusRescheduledEvent
  | StatusIdleEvent
  | SessionErrorEvent
  | SessionUpdatedEvent
  | SessionUsageEvent
  | ModelRequestStartEvent
  | ModelRequestEndEvent

/**
 * A part of the next event: never stored, and dropped for slow readers. The event itself always follows, unless its
 * request fails.
 */
export type EventPreview =
  | { type: 'event_start'; event: { type: 'agent.message' | 'agent.thinking'; id: string } }
  | {
      type: 'event_delta'
      event_id: string
      delta: { type: 'content_delta'; index: number; content: { type: 'text'; text: string } }
    }

type Without<Event, Key extends PropertyKey> = Event extends unknown ? Omit<Event, Key> : never

/** An event that has no id and no time yet. */
export type NewSessionEvent = Without<SessionEvent, 'id' | 'processed_at'> & {
  id?: string
  processed_at?: string | null
}

export const newEventId = (): string => `sevt_${randomUUID().replaceAll('-', '')}`

/** The event of a tool call: known from the SDK's id of the call alone, so that its result and its confirmation find it. */
export const toolUseEventId = (toolUseId: string): string =>
  `sevt_${createHash('sha256').update(toolUseId).digest('hex').slice(0, 32)}`

export const sessionError = (
  type: SessionErrorType,
  message: string,
  retry: 'retrying' | 'exhausted',
): NewSessionEvent => ({ type: 'session.error', error: { type, message, retry_status: { type: retry } } })

export const idle = (
  stop_reason: StatusIdleEvent['stop_reason'],
  stop_details: StatusIdleEvent['stop_details'] = null,
): NewSessionEvent => ({ type: 'session.status_idle', stop_reason, stop_details })
