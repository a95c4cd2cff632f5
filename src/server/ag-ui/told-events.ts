import { EventType } from '@ag-ui/core'
import type { AGUIEvent } from '@ag-ui/core'
import { clientToolName } from './client-tools.ts'
import { resultId } from './history.ts'

/** What an answer of the model is made of. */
export type Block = 'text' | 'thinking' | 'tool'

/** The id of a thought in the model's answer. */
export const thoughtId = (message: string, index: number): string => `${message}:thought${index === 0 ? '' : index}`

/** A text begins. */
export const startOfText = (messageId: string): AGUIEvent[] => [
  { type: EventType.TEXT_MESSAGE_START, messageId, role: 'assistant' },
]

/** A text that is there whole. */
export const textEvents = (messageId: string, delta: string): AGUIEvent[] => [
  ...startOfText(messageId),
  { type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta },
  { type: EventType.TEXT_MESSAGE_END, messageId },
]

/** A thought begins. */
export const startOfThought = (messageId: string): AGUIEvent[] => [
  { type: EventType.REASONING_START, messageId },
  { type: EventType.REASONING_MESSAGE_START, messageId, role: 'reasoning' },
]

/** A tool call begins. The client hangs it on the message of this id, or begins one with it. */
export const startOfTool = (id: string, name: string, message: string): AGUIEvent[] => [
  {
    type: EventType.TOOL_CALL_START,
    toolCallId: id,
    toolCallName: clientToolName(name),
    parentMessageId: message || id,
  },
]

/** A tool call that is there whole. */
export const toolEvents = (id: string, name: string, json: string, message: string | undefined): AGUIEvent[] => [
  ...startOfTool(id, name, message ?? ''),
  { type: EventType.TOOL_CALL_ARGS, toolCallId: id, delta: json },
  ...endOf({ kind: 'tool', id }),
]

/** The result of a tool call. */
export const resultEvent = (toolCallId: string, content: string): AGUIEvent => ({
  type: EventType.TOOL_CALL_RESULT,
  messageId: resultId(toolCallId),
  toolCallId,
  content,
  role: 'tool',
})

/** What has begun ends. */
export function endOf({ kind, id }: { kind: Block; id: string }): AGUIEvent[] {
  if (kind === 'text') return [{ type: EventType.TEXT_MESSAGE_END, messageId: id }]
  if (kind === 'tool') return [{ type: EventType.TOOL_CALL_END, toolCallId: id }]
  return [
    { type: EventType.REASONING_MESSAGE_END, messageId: id },
    { type: EventType.REASONING_END, messageId: id },
  ]
}
