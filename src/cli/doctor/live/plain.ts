import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { query } from '@anthropic-ai/claude-agent-sdk'
import type { Options, SDKMessage, SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import { findClaudeExecutable } from '../../../driver/executable.ts'
import type { AgentOptions } from '../../../index.ts'
import { Stopwatch } from './stopwatch.ts'
import type { Said } from './stopwatch.ts'

/** The options of an agent of the pool for the plain SDK, with the pool's safe defaults. */
export function plainOptions(agent: AgentOptions, env: Record<string, string>): Options {
  const { spares: _spares, unboundSpares: _unbound, canUseTool, limits: _limits, mcpServers: _servers, ...sdk } = agent
  const claude = findClaudeExecutable()
  const options = sdk as Options
  return {
    ...options,
    env,
    settingSources: [],
    strictMcpConfig: true,
    verbatimPrompts: true,
    permissionMode: canUseTool === undefined ? 'dontAsk' : 'default',
    ...(claude === undefined ? {} : { pathToClaudeCodeExecutable: claude }),
    ...(canUseTool === undefined
      ? {}
      : { canUseTool: (tool, input, more) => canUseTool(tool, input, { ...more, session: undefined }) }),
  }
}

/** The plain SDK, one conversation for each name: a process with streaming input, as its documentation advises. */
export class PlainSdk implements AsyncDisposable {
  readonly #root: string
  readonly #optionsOf: (name: string) => Options
  readonly #conversations = new Map<string, PlainConversation>()

  /** `root`: where the conversations work. */
  constructor(root: string, optionsOf: (name: string) => Options) {
    this.#root = root
    this.#optionsOf = optionsOf
  }

  /** Sends a prompt and reads to its result. The first one of a conversation starts its process. */
  async say(name: string, prompt: string): Promise<Said> {
    const cwd = join(this.#root, name)
    await mkdir(cwd, { recursive: true })
    const conversation = this.#conversations.get(name) ?? new PlainConversation({ ...this.#optionsOf(name), cwd })
    this.#conversations.set(name, conversation)
    return conversation.say(prompt)
  }

  /** Ends the process of a conversation; the next prompt resumes it in a new one. */
  async hibernate(name: string): Promise<void> {
    await this.#conversations.get(name)?.hibernate()
  }

  /** Ends all processes, also hanging ones. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const conversation of this.#conversations.values()) conversation.close()
  }
}

class PlainConversation {
  readonly #options: Options
  readonly #typed = new Typed()
  #messages: ReturnType<typeof query> | undefined
  #sessionId: string | undefined
  /** The SDK tells running totals, also of what a resumed conversation had cost before. */
  #costUsd = 0

  constructor(options: Options) {
    this.#options = options
  }

  async say(text: string): Promise<Said> {
    const watch = new Stopwatch()
    const resume = this.#sessionId === undefined ? {} : { resume: this.#sessionId }
    this.#messages ??= query({ prompt: this.#typed.messages(), options: { ...this.#options, ...resume } })
    this.#typed.push({ type: 'user', message: { role: 'user', content: text }, parent_tool_use_id: null })
    for (;;) {
      const { value, done } = await this.#messages.next()
      if (done === true) throw new Error('the process of the plain SDK ended without a result')
      const said = this.#read(value, watch)
      if (said !== undefined) return said
    }
  }

  async hibernate(): Promise<void> {
    const messages = this.#messages
    this.#messages = undefined
    this.#typed.push(undefined)
    while (messages !== undefined && (await messages.next()).done !== true);
  }

  close(): void {
    this.#messages?.close()
  }

  #read(message: SDKMessage, watch: Stopwatch): Said | undefined {
    if (message.type === 'assistant') watch.first()
    if (message.type !== 'result') return undefined
    this.#sessionId = message.session_id
    const costUsd = message.total_cost_usd - this.#costUsd
    this.#costUsd = message.total_cost_usd
    const text = message.subtype === 'success' ? message.result : message.subtype
    return { ...watch.stop(), text, failed: message.is_error, costUsd }
  }
}

/** Prompts as they come; nothing is the end. */
class Typed {
  readonly #prompts: (SDKUserMessage | undefined)[] = []
  #waiting: (() => void) | undefined

  push(message: SDKUserMessage | undefined): void {
    this.#prompts.push(message)
    this.#waiting?.()
  }

  async *messages(): AsyncGenerator<SDKUserMessage, void> {
    for (;;) {
      while (this.#prompts.length === 0) await new Promise<void>((resolve) => (this.#waiting = resolve))
      const next = this.#prompts.shift()
      if (next === undefined) return
      yield next
    }
  }
}
