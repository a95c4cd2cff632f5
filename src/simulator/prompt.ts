import type { Block, Message } from './wire.ts'

/** What a request says about the conversation: everything that an answer depends on. */
export interface Conversation {
  /** How many prompts the human has sent so far. */
  turn: number
  /** The last of them. */
  prompt: string
  /** What the tools answered since then, oldest first. */
  results: readonly string[]
}

/** Everything that the CLI adds to what the human typed. */
const REMINDER = /<system-reminder>[\s\S]*?<\/system-reminder>/g
const ADDED_BY_CLI =
  /^\[Request interrupted by user|^<(?:command-(?:name|message|args)|local-command-(?:caveat|stdout|stderr))>/

const blocksOf = (content: string | readonly Block[]): readonly Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : content

/** The text of a tool's result, whether it is a string or blocks. */
export function resultText(block: Block): string {
  const parts = blocksOf(block.content ?? '')
  return parts.map((part) => part.text ?? `[${part.type}]`).join('\n')
}

/** What the human wrote in this text, without what the CLI put there. Empty when nothing is left. */
function humanText(text: string): string {
  const rest = text.replace(REMINDER, '')
  return ADDED_BY_CLI.test(rest.trimStart()) ? '' : rest
}

/** Reads the conversation from the request alone, so that it is right after a kill, a resume or a restart of either side. */
export function readConversation(messages: readonly Message[]): Conversation {
  let turn = 0
  let prompt = ''
  let results: string[] = []
  for (const { role, content } of messages) {
    if (role !== 'user') continue
    // The CLI merges neighbouring user messages into one and ends each part of the earlier ones with a newline.
    let joins = false
    for (const block of blocksOf(content)) {
      if (block.type === 'tool_result') {
        results.push(resultText(block))
        joins = false
      }
      if (block.type !== 'text') continue
      const text = humanText(block.text ?? '')
      if (text.trim() === '') {
        joins = false
        continue
      }
      prompt = joins ? `${prompt}\n${text.trim()}` : text.trim()
      if (!joins) {
        turn += 1
        results = []
      }
      joins = !text.endsWith('\n')
    }
  }
  return { turn, prompt, results }
}
