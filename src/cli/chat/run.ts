import { loadConfig } from '../../config/load.ts'
import { ConfigError, PoolClosedError, PoolError, SessionGoneError } from '../../index.ts'
import type { AgentOptions, Pool, PoolCanUseTool, PoolOptions, Session, Turn } from '../../index.ts'
import { ChatInput } from './input.ts'
import { pastOf } from './past.ts'
import { ChatScreen } from './screen.ts'
import { EXIT } from '../shared/exit.ts'
import { openPool } from '../shared/open-pool.ts'
import type { PoolFlags } from '../shared/open-pool.ts'
import { listenForStop } from '../shared/stop.ts'
import { toolWords } from './tool-words.ts'

/** The flags of `chat`. */
export interface ChatFlags extends PoolFlags {
  agent?: string
  session: string
  tenant: string
}

const COMMANDS = `/info       what this conversation is
/new [KEY]  begin another one
/exit       leave; the conversation stays
Everything else goes to the agent. A line that ends with \\ goes on in the next.`

/** Talks until the input ends or the user leaves. Resolves with the exit code; no process is left then. */
export async function chat(flags: ChatFlags): Promise<number> {
  const interactive = process.stdin.isTTY && process.stdout.isTTY
  using stop = listenForStop(['SIGTERM', 'SIGHUP'])
  // Of the objects that are made below, each is needed by one that is made before it.
  const late: { chat?: Chat } = {}
  const interrupt = (): void => (late.chat === undefined ? process.exit(128 + 2) : late.chat.interrupt())
  process.on('SIGINT', interrupt)
  try {
    using input = new ChatInput(interactive, interrupt)
    const ask: PoolCanUseTool = async (tool, call, { signal }) => {
      const allowed = await input.confirm(`Allow ${toolWords(tool, call)}? [y/N] `, signal)
      return allowed ? { behavior: 'allow', updatedInput: call } : { behavior: 'deny', message: 'The user said no.' }
    }
    const config = await loadConfig(flags.config, process.cwd())
    await using opened = await openPool(flags, config, (options, { file }) =>
      forChat(options, file === undefined, interactive ? ask : undefined),
    )
    const { pool, options, simulatedBecause } = opened
    const session = await openSession(pool, options, flags)
    const screen = new ChatScreen({ interactive, showsCost: simulatedBecause === undefined })
    if (simulatedBecause === 'no credential')
      screen.note('There is no API key (ANTHROPIC_API_KEY), so a simulated model answers.')
    else if (simulatedBecause === 'asked') screen.note('A simulated model answers.')
    pool.on('warning', ({ message }) => screen.note(`· ${message}`))
    pool.on('session.restarted', () => screen.note('· the transcript was gone; the conversation begins anew'))
    const running = new Chat({ pool, session, flags, input, screen, interactive })
    late.chat = running
    stop.signal.addEventListener('abort', () => running.leave(stop.signal.reason as number))
    if (stop.signal.aborted) running.leave(stop.signal.reason as number)
    return await running.run()
  } finally {
    process.off('SIGINT', interrupt)
  }
}

/**
 * The agents as a chat wants them: text as it comes, no spares for others, and questions if a user can answer. The
 * agent that there is without a config asks; one that was configured asks if its `permissionMode` is `default`.
 */
function forChat({ agents, ...rest }: PoolOptions, isDefault: boolean, ask: PoolCanUseTool | undefined): PoolOptions {
  const asks = ({ permissionMode, canUseTool }: AgentOptions): boolean =>
    canUseTool === undefined && (permissionMode === 'default' || isDefault)
  const adapt = (agent: AgentOptions): AgentOptions => ({
    ...agent,
    includePartialMessages: true,
    spares: { max: 0 },
    unboundSpares: { max: 0 },
    ...(ask !== undefined && asks(agent) ? { canUseTool: ask } : {}),
  })
  return { ...rest, agents: Object.fromEntries(Object.entries(agents).map(([name, agent]) => [name, adapt(agent)])) }
}

async function openSession(
  pool: Pool,
  { agents }: PoolOptions,
  { agent, session: key, tenant }: ChatFlags,
): Promise<Session> {
  if (agent !== undefined) return pool.session(key, { agent, tenant })
  const names = Object.keys(agents)
  const known = await find(pool, key, tenant)
  if (known !== undefined) {
    if (names.includes(known.agent)) return known
    throw new ConfigError(
      '--session',
      `the agent "${known.agent}" of "${key}" is not in the config; it has: ${names.join(', ')}`,
    )
  }
  const [only, ...others] = names
  if (only === undefined || others.length > 0)
    throw new ConfigError('--agent', `is needed to begin a conversation; the config has: ${names.join(', ')}`)
  return pool.session(key, { agent: only, tenant })
}

async function find(pool: Pool, key: string, tenant: string): Promise<Session | undefined> {
  try {
    return await pool.session(key, { tenant })
  } catch (error) {
    if (error instanceof SessionGoneError) return undefined
    throw error
  }
}

interface ChatParts {
  pool: Pool
  session: Session
  flags: ChatFlags
  input: ChatInput
  screen: ChatScreen
  interactive: boolean
}

/** A turn whose last answer is the API's error is a success to the CLI all the same. */
const endedWith = (subtype: string): string => `the turn ended with ${subtype === 'success' ? 'an error' : subtype}`

/** One run of the command: turn after turn, until its end. */
class Chat {
  readonly #parts: ChatParts
  #session: Session
  #turn: Turn | undefined
  #interrupted = false
  /** Set when it is to end. */
  #exitCode: number | undefined
  #failed = false

  constructor(parts: ChatParts) {
    this.#parts = parts
    this.#session = parts.session
  }

  /** Ctrl-C: stops the turn that runs; without one, or when that was asked before, the chat. */
  interrupt(): void {
    const { screen, interactive } = this.#parts
    if (this.#turn === undefined || this.#interrupted) return this.leave(interactive ? EXIT.done : 128 + 2)
    this.#interrupted = true
    screen.note('· interrupting; once more leaves')
    void this.#turn.interrupt()
  }

  /** Ends the chat, whatever runs. */
  leave(exitCode: number): void {
    this.#exitCode ??= exitCode
    this.#parts.input.close()
    void this.#parts.pool.close()
  }

  async run(): Promise<number> {
    const { screen, interactive } = this.#parts
    try {
      await this.#converse()
    } catch (error) {
      // Leaving closes the pool, also during a turn.
      if (this.#exitCode === undefined || !(error instanceof PoolClosedError)) throw error
    }
    if (interactive) screen.note(`\nThe conversation is kept as "${this.#session.key}".`)
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
    const { screen, interactive } = this.#parts
    const { key, turns, agent } = await this.#session.info()
    if (turns > 0) screen.note(`Continuing session ${key}, ${turns} ${turns === 1 ? 'turn' : 'turns'}.`)
    else screen.note(`New session ${key} with agent ${agent}.`)
    if (!interactive) return
    if (turns > 0) await this.#recall()
    screen.note('/help shows what else can be typed.')
    // While the person still types, the process starts. If it cannot, the turn will say why.
    this.#session.warm().catch(() => undefined)
  }

  /** Shows what was said before. */
  async #recall(): Promise<void> {
    const { screen } = this.#parts
    const past = await pastOf(this.#session)
    if (past === undefined) screen.note('Events are not kept here, so what was said before cannot be shown.')
    else screen.past(past)
  }

  /** True when it was one. */
  async #command(text: string): Promise<boolean> {
    const { screen } = this.#parts
    const [name, argument] = text.split(/\s+/)
    if (name === '/exit') this.leave(EXIT.done)
    else if (name === '/help') screen.note(COMMANDS)
    else if (name === '/info') await this.#info()
    else if (name === '/new') await this.#renew(argument)
    else return false
    return true
  }

  async #info(): Promise<void> {
    const { key, tenant, agent, state, turns, cwd, sdkSessionId } = await this.#session.info()
    const facts = { session: key, tenant, agent, state, turns, cwd, 'SDK session': sdkSessionId }
    for (const [name, value] of Object.entries(facts))
      this.#parts.screen.note(`${name.padEnd(12)}${value ?? 'none yet'}`)
  }

  async #renew(wanted: string | undefined): Promise<void> {
    const { pool, screen, flags } = this.#parts
    const { tenant } = flags
    let key = wanted ?? `${flags.session}-2`
    for (let number = 3; wanted === undefined && (await find(pool, key, tenant)) !== undefined; number += 1)
      key = `${flags.session}-${number}`
    try {
      const next = (await find(pool, key, tenant)) ?? (await pool.session(key, { tenant, agent: this.#session.agent }))
      await this.#session.hibernate()
      this.#session = next
      await this.#greet()
    } catch (error) {
      if (!(error instanceof PoolError)) throw error
      screen.problem(error.message)
    }
  }

  async #say(text: string): Promise<void> {
    const { screen } = this.#parts
    const begun = performance.now()
    const turn = this.#session.send(text)
    this.#turn = turn
    this.#interrupted = false
    try {
      for await (const message of turn) screen.show(message)
      const result = await turn.result
      if (result.is_error) this.#fail(this.#interrupted ? 'interrupted' : endedWith(result.subtype))
      screen.finish(result, turn, performance.now() - begun)
    } catch (error) {
      if (!(error instanceof PoolError)) throw error
      if (this.#exitCode === undefined) this.#fail(`${error.message} (${error.code})`)
    } finally {
      this.#turn = undefined
    }
  }

  #fail(what: string): void {
    this.#failed = true
    this.#parts.screen.problem(what)
  }
}
