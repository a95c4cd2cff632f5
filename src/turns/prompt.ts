import { ConfigError } from '../errors.ts'
import type { SDKUserMessage } from '../driver/driver.ts'
import type { EventContent } from '../journal/session-event.ts'

/** Content blocks of a user message, as the Messages API takes them. */
export type MessageContent = Exclude<SDKUserMessage['message']['content'], string>

/** What a session takes as a prompt. */
export type TurnInput = string | MessageContent | SDKUserMessage

/** Blocks of prompts that no user has written. */
const contextBlocks = new WeakSet<object>()

/** True for a block that came from `context` of `send()`: it is no part of what the user said. */
export const isContext = (block: object): boolean => contextBlocks.has(block)

function contextBlock(text: string): { type: 'text'; text: string } {
  const block = { type: 'text' as const, text: `<system-reminder>\n${text}\n</system-reminder>` }
  contextBlocks.add(block)
  return block
}

/** What a caller keeps with a prompt. */
export type PromptMetadata = Readonly<Record<string, unknown>>

/** What the event of a prompt says of it besides its content. */
export interface PromptFacts {
  /** The id of the event. */
  id?: string
  metadata?: PromptMetadata
  /** What it shows in place of the content. */
  content?: EventContent[]
}

/** By what the SDK's message carries: its copies carry the same. */
const kept = new WeakMap<object, PromptFacts>()

/** What the caller of `send()` has said of this prompt. */
export const factsOf = ({ message }: SDKUserMessage): PromptFacts => kept.get(message) ?? {}

/** Characters of JSON. */
const LARGEST_METADATA = 64 * 1024

/** What a prompt carries beside what the user says. */
interface PromptExtras {
  context?: readonly string[] | undefined
  metadata?: PromptMetadata | undefined
  eventId?: string | undefined
  showPrompt?: boolean | readonly EventContent[] | undefined
}

/**
 * Makes the SDK's message of what a caller sends, `context` before it. Throws ConfigError for nothing at all, and for
 * metadata that is not JSON or too large.
 */
export function toUserMessage(
  input: TurnInput,
  { context = [], metadata, eventId, showPrompt }: PromptExtras = {},
): SDKUserMessage {
  const whole = withContext(toPrompt(input), context)
  const isReplaced = typeof showPrompt === 'object'
  if (metadata === undefined && eventId === undefined && !isReplaced) return whole
  const carrying = { ...whole, message: { ...whole.message } }
  kept.set(carrying.message, {
    ...(eventId === undefined ? {} : { id: eventId }),
    ...(metadata === undefined ? {} : { metadata: checkedMetadata(metadata) }),
    ...(isReplaced ? { content: [...showPrompt] } : {}),
  })
  return carrying
}

/** The same prompt with `context` as system reminders before it. */
export function withContext(prompt: SDKUserMessage, context: readonly string[]): SDKUserMessage {
  if (context.length === 0) return prompt
  const { content } = prompt.message
  const said = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content
  return { ...prompt, message: { role: 'user', content: [...context.map(contextBlock), ...said] as MessageContent } }
}

function checkedMetadata(metadata: PromptMetadata): PromptMetadata {
  let json: string | undefined
  try {
    json = JSON.stringify(metadata)
  } catch (cause) {
    throw new ConfigError('metadata', 'is not JSON', { cause })
  }
  if (json === undefined || !json.startsWith('{')) throw new ConfigError('metadata', 'is not an object of JSON')
  if (json.length > LARGEST_METADATA)
    throw new ConfigError('metadata', `has ${json.length} characters of JSON; at most ${LARGEST_METADATA} are kept`)
  return JSON.parse(json) as PromptMetadata
}

function toPrompt(input: TurnInput): SDKUserMessage {
  if (typeof input === 'string' || Array.isArray(input)) {
    return { type: 'user', message: { role: 'user', content: saidIn(input) }, parent_tool_use_id: null }
  }
  if (typeof input !== 'object' || input === null || input.type !== 'user') {
    throw new ConfigError('input', 'is neither text, nor content blocks, nor an SDK user message')
  }
  const content = saidIn(input.message?.content)
  return content === input.message.content ? input : { ...input, message: { role: 'user', content } }
}

/** The content of a prompt without blocks of blank text, which the API refuses. Throws ConfigError if nothing is left. */
function saidIn(content: string | MessageContent): string | MessageContent {
  if (typeof content !== 'string' && !Array.isArray(content)) {
    throw new ConfigError('input', 'has neither text nor content blocks')
  }
  const said = typeof content === 'string' ? content.trim() : content.filter((block) => !isBlank(block))
  if (said.length === 0) throw new ConfigError('input', 'is empty; send some text or content blocks')
  return typeof content !== 'string' && said.length < content.length ? (said as MessageContent) : content
}

/** Throws ConfigError if it is no block. */
function isBlank(block: MessageContent[number]): boolean {
  if (typeof block !== 'object' || block === null)
    throw new ConfigError('input', 'has a content block that is no object')
  return block.type === 'text' && typeof block.text === 'string' && block.text.trim() === ''
}
