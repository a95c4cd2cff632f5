import { isSteered, splitLastReminders, splitReminders, steeredPrompts } from './reminders.ts'
import type { Block, Message } from './wire.ts'

/**
 * What the request waits for: an answer to a prompt or to its tools' results, a summary of the conversation
 * (the CLI compacts it), or a word on something that no human sent (a background task ended, a hook objected).
 */
export type Wanted = 'answer' | 'summary' | 'remark'

/** What a request says about the conversation: everything that an answer depends on. */
export interface Conversation {
  wants: Wanted
  /** How many prompts the human has sent so far. */
  turn: number
  /** The last of them. */
  prompt: string
  /** What the tools answered since then, oldest first. */
  results: readonly string[]
  /** What happened, where a remark is wanted. */
  notice: string
}

/** Leads the summary of a compacted conversation, so that counting goes on after it. */
export const SUMMARY_MARK = '[sim] prompts so far:'

const SUMMARY_REQUEST = /^CRITICAL: Respond with TEXT ONLY\.[\s\S]*<summary>/
const CONTINUED = /^This session is being continued from a previous conversation/
const COUNTED = /\[sim\] prompts so far: (\d{1,9})/
const OWN_ANSWER = /^\[turn (\d{1,9})\]/
/** Beginnings of texts that the CLI writes where the human's would be. */
const WRITTEN_BY_CLI = [
  /^\[Request interrupted by user/,
  /^\[Image: source: /,
  /^\[structured-output-enforce\]/,
  /^Stop hook feedback:/,
  /^<(?:command-(?:name|message|args)|(?:local-command|bash)-(?:caveat|input|stdout|stderr))>/,
]

const blocksOf = (content: string | readonly Block[]): readonly Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : content

const textOf = (block: Block): string =>
  block.content === undefined
    ? ''
    : blocksOf(block.content)
        .map((part) => part.text ?? `[${part.type}]`)
        .join('\n')

/** The one line of a notice that says what happened. */
function headline(text: string): string {
  const summary = /<summary>([\s\S]*?)<\/summary>/.exec(text)?.[1]
  return (summary ?? text.replaceAll(/<\/?system-reminder>/g, '')).trim()
}

/** Follows a conversation from its first message on and keeps count. */
class Reading implements Conversation {
  wants: Wanted = 'answer'
  turn = 0
  prompt = ''
  results: string[] = []
  notice = ''
  readonly #tools = new Map<unknown, unknown>()
  /** The next text of this message goes on with the prompt, as the human wrote it in several blocks. */
  #joins = false
  /** The next text of this message is a skill that the CLI unfolds. */
  #skill = false
  /** Part of the conversation was replaced by its summary. */
  #compacted = false

  message({ role, content }: Message): void {
    if (role === 'user') this.#user(blocksOf(content))
    else if (role === 'system') for (const block of blocksOf(content)) this.#steered(block.text ?? '')
    else if (role === 'assistant') for (const block of blocksOf(content)) this.#assistant(block)
  }

  #user(blocks: readonly Block[]): void {
    this.wants = 'remark'
    this.notice = headline(blocks.map((block) => block.text ?? '').join('\n'))
    this.#joins = false
    this.#skill = false
    for (const block of blocks) {
      if (block.type === 'tool_result') this.#result(block)
      else if (block.type === 'text') this.#text(block.text ?? '')
      else if (!blocks.some(({ type }) => type === 'tool_result')) this.#attachment()
    }
  }

  #assistant(block: Block): void {
    if (block.type === 'tool_use') this.#tools.set(block['id'], block['name'])
    // Prompts that the summary counts may follow it once more; the simulator's own answers tell where it was.
    const own = this.#compacted ? OWN_ANSWER.exec(block.text ?? '')?.[1] : undefined
    if (own !== undefined) this.turn = Number(own)
  }

  #result(block: Block): void {
    const { written, reminders } = splitLastReminders(textOf(block))
    this.results.push(written)
    this.wants = 'answer'
    this.#joins = false
    this.#skill ||= this.#tools.get(block['tool_use_id']) === 'Skill'
    for (const reminder of reminders) this.#steered(reminder)
  }

  #text(text: string): void {
    const { written, reminders } = splitReminders(text)
    for (const reminder of reminders) this.#steered(reminder)
    const human = written.trim()
    if (CONTINUED.test(human)) return this.#continued(human)
    if (isSteered(human)) {
      this.#joins = false
      return this.#steered(human)
    }
    const isSkill = this.#skill
    if (human !== '') this.#skill = false
    if (SUMMARY_REQUEST.test(human)) this.wants = 'summary'
    else if (human !== '' && !isSkill && !WRITTEN_BY_CLI.some((beginning) => beginning.test(human))) {
      return this.#human(human, written.endsWith('\n'))
    }
    this.#joins = false
  }

  /** The CLI merges neighbouring user messages into one, and ends the last text of each but the last with a newline. */
  #human(text: string, isLastOfMessage: boolean): void {
    if (this.#joins) this.prompt += this.prompt === '' ? text : `\n${text}`
    else this.#begin(text)
    this.#joins = !isLastOfMessage
  }

  /** An image or a document is a prompt, or a part of one, unless a tool brought it. */
  #attachment(): void {
    if (!this.#joins) this.#begin('')
    this.#joins = true
  }

  #begin(prompt: string): void {
    this.turn += 1
    this.prompt = prompt
    this.results = []
    this.wants = 'answer'
  }

  #steered(text: string): void {
    for (const prompt of steeredPrompts(text)) this.#begin(prompt)
  }

  #continued(summary: string): void {
    this.#compacted = true
    this.turn = Number(COUNTED.exec(summary)?.[1] ?? this.turn)
    this.prompt = ''
    this.results = []
  }
}

/** Reads the conversation from the request alone, so that it is right after a kill, a resume or a restart of either side. */
export function readConversation(messages: readonly Message[]): Conversation {
  const reading = new Reading()
  for (const message of messages) reading.message(message)
  return reading
}
