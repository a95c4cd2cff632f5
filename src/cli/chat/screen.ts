import type { Turn } from '../../index.ts'
import { formatDuration } from '../../units.ts'
import type { Past } from './past.ts'
import { oneLine } from '../shared/exit.ts'
import { printable, styleOf } from '../shared/style.ts'
import type { Style } from '../shared/style.ts'
import { toolWords } from './tool-words.ts'

/** A message of a turn. */
export type Message = Turn extends AsyncIterable<infer Each> ? Each : never

type AssistantMessage = Extract<Message, { type: 'assistant' }>
type Block = AssistantMessage['message']['content'][number]

/** Where a chat writes: answers to stdout; the rest there too for a person, to stderr for a script. */
export class ChatScreen {
  readonly #notes: NodeJS.WriteStream
  readonly #style: Style
  readonly #showsCost: boolean
  /** Answers of which pieces were shown as they came. */
  readonly #streamed = new Set<string>()
  #lineIsOpen = false
  /** The CLI counts what its process has cost so far. */
  #costOfProcess = 0

  constructor({ interactive, showsCost }: { interactive: boolean; showsCost: boolean }) {
    this.#notes = interactive ? process.stdout : process.stderr
    this.#style = styleOf(this.#notes)
    this.#showsCost = showsCost
  }

  /** Which conversation it is. */
  greet(key: string, { turns, agent }: { turns: number; agent: string }): void {
    if (turns > 0) this.note(`Continuing session ${key}, ${turns} ${turns === 1 ? 'turn' : 'turns'}.`)
    else this.note(`New session ${key} with agent ${agent}.`)
  }

  /** Another text of the agent begins. */
  beginText(): void {
    this.#endLine()
  }

  /** A piece of what the agent says. */
  text(text: string): void {
    if (text === '') return
    process.stdout.write(printable(text))
    this.#lineIsOpen = !text.endsWith('\n')
  }

  /** Something beside the conversation. */
  note(text: string): void {
    this.#endLine()
    this.#notes.write(`${this.#style.dim(printable(text))}\n`)
  }

  /** What was said before, as it looked then. */
  past({ entries, cut }: Past): void {
    if (cut) this.note('…')
    for (const { kind, lines } of entries) {
      if (kind === 'prompt')
        for (const [index, line] of lines.entries()) this.note(`${index === 0 ? '>' : '…'} ${line}`)
      else if (kind === 'tool') for (const line of lines) this.note(`· ${line}`)
      else this.text(`${lines.join('\n')}\n`)
    }
  }

  problem(text: string): void {
    this.#endLine()
    this.#notes.write(`${this.#style.red(printable(oneLine(text)))}\n`)
  }

  show(message: Message): void {
    if (message.type === 'stream_event') this.#showPiece(message)
    else if (message.type === 'assistant') this.#showAnswer(message)
    else if (message.type === 'system' && message.subtype === 'api_retry') {
      const { error_status: status, retry_delay_ms: delayMs } = message
      this.note(`· the API answered ${status ?? 'nothing'}; the next try is in ${formatDuration(delayMs)}`)
    }
  }

  /** The turn is over. */
  finish(result: Extract<Message, { type: 'result' }>, turn: Turn, ms: number): void {
    this.#endLine()
    const isSameProcess = turn.warmth === 'live' || turn.warmth === 'thawed'
    const cost = isSameProcess ? result.total_cost_usd - this.#costOfProcess : result.total_cost_usd
    this.#costOfProcess = result.total_cost_usd
    const facts = [formatDuration(ms), turn.warmth, ...(this.#showsCost ? [`$${cost.toFixed(4)}`] : [])]
    this.note(`· ${facts.join(' · ')}`)
  }

  #showPiece({ event, parent_tool_use_id: parent }: Extract<Message, { type: 'stream_event' }>): void {
    if (parent !== null) return
    if (event.type === 'message_start') this.#streamed.add(event.message.id)
    else if (event.type === 'content_block_start') this.#endLine()
    else if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') this.text(event.delta.text)
  }

  #showAnswer({ message, parent_tool_use_id: parent }: AssistantMessage): void {
    for (const block of message.content) {
      if (block.type === 'tool_use') this.note(`${parent === null ? '·' : '  ·'} ${toolWords(block.name, block.input)}`)
      else if (parent === null && !this.#streamed.has(message.id)) this.#showWhole(block)
    }
  }

  #showWhole(block: Block): void {
    if (block.type !== 'text') return
    this.#endLine()
    this.text(block.text)
  }

  #endLine(): void {
    if (this.#lineIsOpen) process.stdout.write('\n')
    this.#lineIsOpen = false
  }
}
