import { ConfigError } from '../errors.ts'
import type { SDKUserMessage } from '../driver/driver.ts'

/** Content blocks of a user message, as the Messages API takes them. */
export type MessageContent = Exclude<SDKUserMessage['message']['content'], string>

/** What a session takes as a prompt. */
export type TurnInput = string | MessageContent | SDKUserMessage

/** Keys and tenants travel through logs and file names: at most this many bytes of UTF-8. */
const LONGEST_NAME_BYTES = 256

/** Blocks of prompts that no user has written. */
const contextBlocks = new WeakSet<object>()

/** True for a block that came from `context` of `send()`: it is no part of what the user said. */
export const isContext = (block: object): boolean => contextBlocks.has(block)

function contextBlock(text: string): { type: 'text'; text: string } {
  const block = { type: 'text' as const, text: `<system-reminder>\n${text}\n</system-reminder>` }
  contextBlocks.add(block)
  return block
}

/** Makes the SDK's message of what a caller sends, `context` before it. Throws ConfigError for nothing at all. */
export function toUserMessage(input: TurnInput, context: readonly string[] = []): SDKUserMessage {
  const prompt = toPrompt(input)
  if (context.length === 0) return prompt
  const { content } = prompt.message
  const said = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content
  return { ...prompt, message: { role: 'user', content: [...context.map(contextBlock), ...said] as MessageContent } }
}

function toPrompt(input: TurnInput): SDKUserMessage {
  if (typeof input === 'string' || Array.isArray(input)) {
    if (input.length === 0 || (typeof input === 'string' && input.trim() === '')) {
      throw new ConfigError('input', 'is empty; send some text or content blocks')
    }
    return { type: 'user', message: { role: 'user', content: input }, parent_tool_use_id: null }
  }
  if (typeof input !== 'object' || input === null || input.type !== 'user') {
    throw new ConfigError('input', 'is neither text, nor content blocks, nor an SDK user message')
  }
  return input
}

/** Checks a session's key or a tenant's name. Throws ConfigError. */
export function checkName(path: 'key' | 'tenant', name: unknown): void {
  if (typeof name !== 'string' || name === '') throw new ConfigError(path, 'must be a string of at least one character')
  if (Buffer.byteLength(name) > LONGEST_NAME_BYTES) {
    throw new ConfigError(
      path,
      `has ${Buffer.byteLength(name)} bytes; at most ${LONGEST_NAME_BYTES} are allowed, so hash longer ones`,
    )
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what this looks for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) throw new ConfigError(path, 'has control characters; leave them out')
  if (!name.isWellFormed()) throw new ConfigError(path, 'is not well-formed Unicode (a lone surrogate)')
}
