import { PoolClosedError, PoolError } from '../../errors.ts'
import { EXIT } from '../shared/exit.ts'
import type { Conversation } from './conversation.ts'
import type { ChatInput } from './input.ts'
import type { ChatScreen } from './screen.ts'

const COMMANDS = `/info       what this conversation is
/new [KEY]  begin another one
/exit       leave; the conversation stays
Everything else goes to the agent. A line that ends with \\ goes on in the next.`

interface ChatParts {
  conversation: Conversation
  input: ChatInput
  screen: ChatScreen
  interactive: boolean
}

/** One run of the command: turn after turn, until its end. */
export class Chat {
  readonly #parts: ChatParts
  #running = false
  #interrupted = false
  /** Set when it is to end. */
  #exitCode: number | undefined
  #failed = false

  constructor(parts: ChatParts) {
    this.#parts = parts
  }

  /** Ctrl-C: stops the turn that runs; without one, or when that was asked before, the chat. */
  interrupt(): void {
    const { screen, interactive, conversation } = this.#parts
    if (!this.#running || this.#interrupted) return this.leave(interactive ? EXIT.done : 128 + 2)
    this.#interrupted = true
    screen.note('· interrupting; once more leaves')
    conversation.interrupt()
  }

  /** Ends the chat, whatever runs. */
  leave(exitCode: number): void {
    this.#exitCode ??= exitCode
    this.#parts.input.close()
    this.#parts.conversation.leave()
  }

  /** Resolves with the exit code. */
  async run(): Promise<number> {
    const { screen, interactive, conversation } = this.#parts
    try {
      await this.#converse()
    } catch (error) {
      // Leaving closes the pool, also during a turn.
      if (this.#exitCode === undefined || !(error instanceof PoolClosedError)) throw error
    }
    if (interactive) screen.note(`\nThe conversation is kept as "${conversation.key}".`)
    return this.#exitCode ?? (this.#failed && !interactive ? EXIT.failed : EXIT.done)
  }

  async #converse(): Promise<void> {
    await this.#greet()
    while (this.#exitCode === undefined) {
      const text = await this.#parts.input.read()
      if (text === undefined || this.#exitCode !== undefined) return
      if (text.trim() === '') continue
      if (!(await this.#command(text.trim()))) await this.#say(text)
    }
  }

  async #greet(): Promise<void> {
    const { conversation, interactive, screen } = this.#parts
    await conversation.greet()
    if (interactive) screen.note('/help shows what else can be typed.')
  }

  /** True when it was one. */
  async #command(text: string): Promise<boolean> {
    const { screen, conversation } = this.#parts
    const [name, argument] = text.split(/\s+/)
    if (name === '/exit') this.leave(EXIT.done)
    else if (name === '/help') screen.note(COMMANDS)
    else if (name === '/info') {
      for (const [fact, value] of Object.entries(await conversation.facts()))
        screen.note(`${fact.padEnd(12)}${value ?? 'none yet'}`)
    } else if (name === '/new') await this.#change(argument)
    else return false
    return true
  }

  async #change(key: string | undefined): Promise<void> {
    try {
      await this.#parts.conversation.change(key)
      await this.#greet()
    } catch (error) {
      if (!(error instanceof PoolError)) throw error
      this.#parts.screen.problem(error.message)
    }
  }

  async #say(text: string): Promise<void> {
    const { conversation, screen } = this.#parts
    this.#running = true
    this.#interrupted = false
    const problem = await conversation.say(text).finally(() => (this.#running = false))
    if (problem === undefined || this.#exitCode !== undefined) return
    this.#failed = true
    screen.problem(this.#interrupted ? 'interrupted' : problem)
  }
}
