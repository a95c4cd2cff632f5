import { randomUUID } from 'node:crypto'
import type { SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'

/** How a fake turn ends. */
export interface FakeResult {
  /** Default `"success"`. */
  subtype?: SDKResultMessage['subtype']
  /** The text of a success. Default: what the assistant said last. */
  text?: string
  /** What the process has cost so far, in US dollars, as the CLI counts it. Default 0. */
  costUsd?: number
}

const NO_USAGE = { input_tokens: 0, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }

/** The text of a prompt, its blocks joined. */
export function textOf({ message: { content } }: SDKUserMessage): string {
  if (typeof content === 'string') return content
  return content.map((block) => (block.type === 'text' ? block.text : `[${block.type}]`)).join(' ')
}

/** An assistant message of one text block, as the CLI writes it. */
export function assistantMessage(sessionId: string, text: string): SDKMessage {
  const message = {
    id: `msg_${randomUUID()}`,
    type: 'message',
    role: 'assistant',
    model: 'claude-fake',
    content: [{ type: 'text', text, citations: null }],
    stop_reason: null,
    stop_sequence: null,
    usage: NO_USAGE,
  }
  return {
    type: 'assistant',
    message,
    parent_tool_use_id: null,
    uuid: randomUUID(),
    session_id: sessionId,
  } as SDKMessage
}

/** What the CLI says when it has compacted a conversation. */
export const compactBoundary = (sessionId: string): SDKMessage =>
  ({
    type: 'system',
    subtype: 'compact_boundary',
    compact_metadata: { trigger: 'manual', pre_tokens: 0 },
    uuid: randomUUID(),
    session_id: sessionId,
  }) as SDKMessage

/** What it says when it could not. */
export const compactFailure = (sessionId: string, error: string): SDKMessage =>
  ({
    type: 'system',
    subtype: 'status',
    status: null,
    compact_result: 'failed',
    compact_error: error,
    uuid: randomUUID(),
    session_id: sessionId,
  }) as SDKMessage

/** A `result` message that answers these prompts, as the CLI writes it. */
export function resultMessage(
  sessionId: string,
  { subtype = 'success', text = '', costUsd = 0 }: FakeResult,
  answers: readonly string[],
): SDKResultMessage {
  const common = {
    type: 'result',
    subtype,
    is_error: subtype !== 'success',
    duration_ms: 0,
    duration_api_ms: 0,
    num_turns: 1,
    stop_reason: subtype === 'success' ? 'end_turn' : null,
    total_cost_usd: costUsd,
    usage: NO_USAGE,
    modelUsage: {},
    permission_denials: [],
    uuid: randomUUID(),
    session_id: sessionId,
    ...(answers.length === 0 ? {} : { user_message_uuid: answers.at(-1), user_message_uuids: answers }),
  }
  return { ...common, ...(subtype === 'success' ? { result: text } : { errors: [] }) } as unknown as SDKResultMessage
}
