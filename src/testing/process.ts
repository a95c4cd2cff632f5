import { randomUUID } from 'node:crypto'
import type { CancelTimer, Clock } from '../clock.ts'
import { BindRefusedError } from '../driver/driver.ts'
import type {
  AgentProcess,
  ExitFacts,
  InterruptReceipt,
  McpServerStatus,
  ProcessInfo,
  Query,
  SDKMessage,
  SDKUserMessage,
  StartSpec,
  Graces,
  TerminateReport,
} from '../driver/driver.ts'
import { StartError } from '../errors.ts'
import { assistantMessage, compactBoundary, compactFailure, resultMessage, textOf } from './messages.ts'
import type { FakeResult } from './messages.ts'

/** Linux assigns no pid above 4194304, so a fake one belongs to no process. */
const FIRST_PID = 5_000_000

/** A conversation as the fake processes remember it: also after the process that held it has gone. */
export interface FakeConversation {
  /** Its turns so far, over all processes. */
  turns: number
  /** The texts of the prompts that were answered, oldest first. */
  prompts: string[]
  /** What a resume would load. Default 0. */
  bytes?: number
  /** How often it was compacted. Default 0. */
  compactions?: number
}

/** What a fake process needs of its driver. */
export interface FakeProcessContext {
  clock: Clock
  number: number
  conversation: (sessionId: string) => FakeConversation
  changed: () => void
}

/** One fake process, and its remote control. What it does by itself can be turned off, best in the driver's `onStart`. */
export class FakeProcess implements AgentProcess {
  readonly spec: StartSpec
  readonly pid: number
  readonly ready: Promise<void>
  readonly exited: Promise<ExitFacts>
  readonly messages: AsyncIterable<SDKMessage>
  readonly query: Query
  /** False: it is initialised when `becomeReady()` says so, or fails to start when its time is over. Default true. */
  readyAtOnce = true
  /** False: turns wait for `finish()`. Default true: each prompt is answered at once. */
  answersAtOnce = true
  /** False: an interrupt is counted and nothing else. Default true: it ends the turn with an error result. */
  heedsInterrupts = true
  /** False: it exits only at `exit()`, even after the pool closed it. Default true. */
  leavesAtOnce = true
  /** Set: `bind()` is refused for this reason, as `"cwd_untrusted"`. */
  bindRefusal: string | undefined
  /** What it uses, for the pool's fake memory. Default 100 MiB. */
  memoryBytes: number = 100 * 2 ** 20
  /** True: it can be frozen, and keeps a quarter of its memory then. Default false. */
  freezes = false
  /** What it has paged out; undefined unless it is frozen. */
  swappedBytes: number | undefined
  /** False makes it hang: it does not answer health probes. */
  answersProbes = true
  probes = 0
  /** What it says of its MCP servers when it is asked. Default: it has none. */
  servers: Pick<McpServerStatus, 'name' | 'status' | 'error'>[] = []
  /** How often it was to make its prompt and tools ready. */
  prepared = 0
  /** Every prompt it was handed, oldest first. */
  readonly prompts: SDKUserMessage[] = []
  /** What control methods answer, by name. Default: nothing. */
  readonly answers: Map<string, unknown> = new Map()
  /** Control methods that were called on `query`. */
  readonly calls: { method: string; args: unknown[] }[] = []
  /** The texts of the commands that it was handed, oldest first. */
  readonly commands: string[] = []
  interrupts = 0
  /** What it answers to an interrupt. Default: nothing, as older CLIs do. */
  receipt: InterruptReceipt | undefined
  /** How often the pool reported that its output was consumed. */
  consumptions = 0
  /** The graces with which the pool closed it; undefined until then. */
  graces: Graces | undefined
  lastOutputAt: number
  readonly #context: FakeProcessContext
  #heldBack = false
  #onHeldBack: ((heldBack: boolean) => void) | undefined
  readonly #startedAt: number
  readonly #ready = Promise.withResolvers<void>()
  readonly #exited = Promise.withResolvers<ExitFacts>()
  readonly #said: SDKMessage[] = []
  /** Prompts without a result. */
  #unanswered: SDKUserMessage[] = []
  #inCommand = false
  #sessionId: string | undefined
  #wake: (() => void) | undefined
  #inputOpen = true
  #gone = false
  #lastText = ''
  #stderr = ''
  readonly #stderrListeners: ((text: string) => void)[] = []
  #cancelTimeout: CancelTimer | undefined
  #terminating: Promise<TerminateReport> | undefined

  constructor(spec: StartSpec, context: FakeProcessContext) {
    this.spec = spec
    this.#context = context
    this.pid = FIRST_PID + context.number
    this.#sessionId = spec.conversation.kind === 'unbound' ? undefined : spec.conversation.sessionId
    this.#startedAt = context.clock.now()
    this.lastOutputAt = this.#startedAt
    this.ready = this.#ready.promise
    this.ready.catch(() => undefined)
    this.exited = this.#exited.promise
    this.messages = this.#read()
    this.query = this.#controls()
  }

  /** Whether its conversation is held back by a reader that does not read. A test may set it. */
  get heldBack(): boolean {
    return this.#heldBack
  }

  set heldBack(heldBack: boolean) {
    this.#heldBack = heldBack
    this.#onHeldBack?.(heldBack)
  }

  onHeldBack(listener: (heldBack: boolean) => void): void {
    this.#onHeldBack = listener
  }

  get alive(): boolean {
    return !this.#gone && this.#inputOpen
  }

  /** True when it has exited. */
  get gone(): boolean {
    return this.#gone
  }

  /** Prompts that it works on: handed over and without a result. */
  get unanswered(): number {
    return this.#unanswered.length
  }

  /** For the driver: what a process table would show. */
  describe(): ProcessInfo {
    const ageMs = this.#context.clock.now() - this.#startedAt
    return { pid: this.pid, ppid: process.pid, depth: 0, command: 'claude', ageMs, memoryBytes: undefined }
  }

  /** For the driver: does what the CLI does first. */
  begin(obstacle: Error | undefined): void {
    if (obstacle !== undefined) this.failToStart(obstacle)
    else if (this.readyAtOnce) this.becomeReady()
    else if (!this.#gone) this.#awaitReady()
    this.#context.changed()
  }

  /** It is initialised. */
  becomeReady(): void {
    this.lastOutputAt = this.#context.clock.now()
    this.#cancelTimeout?.()
    this.#ready.resolve()
    this.#context.changed()
  }

  /** It ends before it is initialised. Default: a StartError, as for exit code 1. */
  failToStart(error?: Error): void {
    const exit: ExitFacts = { cause: 'crash', exitCode: 1, signal: null, stderr: '' }
    this.#ready.reject(error ?? new StartError('initialize', 'the agent process exited with code 1', exit))
    this.exit(exit)
  }

  /** Says any message of the SDK. For the tool calls in it, one after the other, `PreToolUse` hooks without a matcher are called at once; what they answer is ignored. */
  say(message: SDKMessage): void {
    if (this.#gone) throw new Error('a process that has gone says nothing')
    this.#said.push(message)
    this.lastOutputAt = this.#context.clock.now()
    this.#wake?.()
    this.#context.changed()
    void this.#callHooks(message)
  }

  /** Says a text, as the assistant. */
  sayText(text: string): void {
    this.#lastText = text
    this.say(assistantMessage(this.#id, text))
  }

  /** Ends the turn: a result that answers every prompt without one, or as many as `prompts` says, oldest first. */
  finish({ prompts = Infinity, ...result }: FakeResult & { prompts?: number } = {}): void {
    const answered = this.#unanswered.splice(0, prompts)
    const conversation = this.#context.conversation(this.#id)
    conversation.turns += 1
    conversation.prompts.push(...answered.map(textOf))
    const uuids = answered.flatMap(({ uuid }) => (uuid === undefined ? [] : [uuid]))
    this.say(resultMessage(this.#id, { text: this.#lastText, ...result }, uuids))
  }

  /** Exits: by itself (code 0) unless the arguments say how. What it has said is still read. */
  exit({ exitCode, signal = null, stderr = '', ...facts }: Partial<ExitFacts> = {}): void {
    if (this.#gone) return
    this.#gone = true
    this.#cancelTimeout?.()
    const code = exitCode ?? (signal === null ? 0 : null)
    const byItself = signal === null ? (code === 0 ? 'normal' : 'crash') : 'signal'
    const cause = this.graces === undefined ? byItself : 'ended'
    const exit: ExitFacts = { cause, exitCode: code, signal, stderr, ...facts }
    const how = signal === null ? `exited with code ${exit.exitCode}` : `was ended by ${signal}`
    this.#ready.reject(new StartError('initialize', `the agent process ${how}`, exit))
    this.#exited.resolve(exit)
    this.#wake?.()
    this.#context.changed()
  }

  /** Its input is closed, and it has not exited yet: the moment in which a dead process still looks alive. */
  closeInput(): void {
    this.#inputOpen = false
    this.#context.changed()
  }

  bind(): Promise<string> {
    if (this.bindRefusal !== undefined) {
      return Promise.reject(new BindRefusedError(this.bindRefusal, `${this.bindRefusal}: refused by the test`))
    }
    if (!this.alive) return Promise.reject(new BindRefusedError('exited', 'exited: the process has gone'))
    this.#sessionId = randomUUID()
    return Promise.resolve(this.#sessionId)
  }

  send(message: SDKUserMessage): Promise<boolean> {
    if (!this.alive) return Promise.resolve(false)
    this.prompts.push(message)
    this.#unanswered.push(message)
    if (this.answersAtOnce && !this.frozen) this.#answer(message)
    else this.#context.changed()
    return Promise.resolve(true)
  }

  /** Commands wait like prompts; the one that is known, `/compact`, is done at once where prompts are answered at once. */
  command(message: SDKUserMessage): Promise<boolean> {
    if (!this.alive) return Promise.resolve(false)
    this.commands.push(textOf(message))
    this.#unanswered.push(message)
    this.#inCommand = true
    if (this.answersAtOnce) this.compact()
    else this.#context.changed()
    return Promise.resolve(true)
  }

  /** Ends `/compact`: the conversation has this many bytes now. Default 1. */
  compact(bytes = 1): void {
    const conversation = this.#context.conversation(this.#id)
    conversation.bytes = bytes
    conversation.compactions = (conversation.compactions ?? 0) + 1
    this.say(compactBoundary(this.#id))
    this.#endCommand({})
  }

  /** Ends `/compact` with nothing done. */
  failToCompact(error: string): void {
    this.say(compactFailure(this.#id, error))
    this.#endCommand({ text: error })
  }

  onStderr(listener: (text: string) => void): void {
    if (this.#stderr !== '') listener(this.#stderr)
    this.#stderrListeners.push(listener)
  }

  /** Writes to stderr. */
  sayStderr(text: string): void {
    this.#stderr += text
    for (const listener of this.#stderrListeners) listener(text)
  }

  interrupt(): Promise<InterruptReceipt | undefined> {
    this.interrupts += 1
    const stops = this.alive && this.heedsInterrupts && this.#unanswered.length > 0
    if (stops && this.#inCommand) this.failToCompact('Request was aborted.')
    else if (stops) this.finish({ subtype: 'error_during_execution' })
    else this.#context.changed()
    return Promise.resolve(this.receipt)
  }

  async prepare(): Promise<void> {
    this.prepared += 1
  }

  probe(): Promise<void> {
    this.probes += 1
    return this.answersProbes ? Promise.resolve() : new Promise(() => undefined)
  }

  get frozen(): boolean {
    return this.swappedBytes !== undefined
  }

  freeze(): void {
    this.swappedBytes = (this.memoryBytes * 3) / 4
    this.memoryBytes /= 4
  }

  thaw(): void {
    if (this.swappedBytes === undefined) return
    this.memoryBytes += this.swappedBytes
    this.swappedBytes = undefined
  }

  consumed(): void {
    this.consumptions += 1
    this.#context.changed()
  }

  terminate(graces: Graces): Promise<TerminateReport> {
    this.#terminating ??= this.#terminate(graces)
    return this.#terminating
  }

  async #callHooks(message: SDKMessage): Promise<void> {
    if (message.type !== 'assistant') return
    const hooks = (this.spec.options.hooks?.PreToolUse ?? []).filter(({ matcher }) => matcher === undefined)
    const common = {
      session_id: this.#id,
      transcript_path: '',
      cwd: this.spec.cwd,
      hook_event_name: 'PreToolUse' as const,
    }
    for (const { type, ...block } of message.message.content) {
      if (type !== 'tool_use' || !('name' in block)) continue
      const { id, name, input } = block
      const call = { ...common, tool_use_id: id, tool_name: name, tool_input: input }
      const { signal } = new AbortController()
      await Promise.all(hooks.flatMap((matcher) => matcher.hooks.map((hook) => hook(call, id, { signal }))))
    }
  }

  #awaitReady(): void {
    const { initializeTimeoutMs } = this.spec
    this.#cancelTimeout = this.#context.clock.after(initializeTimeoutMs, () => {
      this.failToStart(new StartError('initialize', `the agent process was not ready within ${initializeTimeoutMs} ms`))
    })
  }

  async #terminate(graces: Graces): Promise<TerminateReport> {
    const startedAt = this.#context.clock.now()
    const [stage, processes] = this.#gone ? (['gone', 0] as const) : (['eof', 1] as const)
    this.graces = graces
    this.#inputOpen = false
    if (this.leavesAtOnce) this.exit()
    this.#context.changed()
    await this.exited
    return { stage, ms: this.#context.clock.now() - startedAt, processes, stragglers: 0, left: 0 }
  }

  get #id(): string {
    if (this.#sessionId === undefined) throw new Error('an unbound process has no conversation yet')
    return this.#sessionId
  }

  /** A command is no turn. */
  #endCommand(result: FakeResult): void {
    this.#inCommand = false
    const uuids = this.#unanswered.splice(0).flatMap(({ uuid }) => (uuid === undefined ? [] : [uuid]))
    this.say(resultMessage(this.#id, result, uuids))
  }

  #answer(message: SDKUserMessage): void {
    const { turns } = this.#context.conversation(this.#id)
    this.sayText(`[turn ${turns + 1}] You said: ${textOf(message)}`)
    this.finish()
  }

  async *#read(): AsyncGenerator<SDKMessage> {
    for (;;) {
      const next = this.#said.shift()
      if (next !== undefined) yield next
      else if (this.#gone) return
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  /** Control methods are noted, and answered as `answers` and `servers` say. */
  #controls(): Query {
    return new Proxy({} as Query, {
      get: (_target, method) =>
        method === 'then' || typeof method === 'symbol'
          ? undefined
          : (...args: unknown[]): Promise<unknown> => {
              this.calls.push({ method, args })
              this.#context.changed()
              return Promise.resolve(method === 'mcpServerStatus' ? this.servers : this.answers.get(method))
            },
    })
  }
}
