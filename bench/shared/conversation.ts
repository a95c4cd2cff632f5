import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { query } from '@anthropic-ai/claude-agent-sdk'
import type { Options, Query, SDKMessage, SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import { findClaudeExecutable } from '../../src/driver/executable.ts'
import { agentEnvironment, hostEnvironment } from '../../src/driver/environment.ts'
import { createPool } from '../../src/index.ts'
import type { AgentOptions, Pool, PoolOptions, Session, Warmth } from '../../src/index.ts'
import { MARK, gone } from './bench.ts'
import type { Bench } from './bench.ts'

const MODEL = 'claude-sonnet-5'

type Target = Pick<Bench, 'dir' | 'url'>

/** One turn: milliseconds from `since` to its first assistant message and to its result. */
export interface TurnTimes {
  first: number
  result: number
  text: string
}

/** Reads a turn's messages to its result. */
async function timed(next: () => Promise<IteratorResult<SDKMessage, unknown>>, since: number): Promise<TurnTimes> {
  let first: number | undefined
  for (;;) {
    const { value, done } = await next()
    if (done === true) throw new Error('the stream ended before its result')
    const message = value as SDKMessage
    if (message.type === 'assistant') first ??= performance.now() - since
    if (message.type !== 'result') continue
    const result = performance.now() - since
    if (message.subtype !== 'success' || message.is_error)
      throw new Error(`the turn failed: ${JSON.stringify(message)}`)
    if (first === undefined) throw new Error('the turn had no assistant message')
    return { first, result, text: message.result }
  }
}

/** A prompt stream that stays open between turns. */
class OpenPrompt implements AsyncIterable<SDKUserMessage> {
  readonly #waiting: SDKUserMessage[] = []
  #wake: (() => void) | undefined

  send(content: string): void {
    this.#waiting.push({ type: 'user', message: { role: 'user', content }, parent_tool_use_id: null })
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SDKUserMessage> {
    for (;;) {
      const message = this.#waiting.shift()
      if (message !== undefined) yield message
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}

const claudePath = findClaudeExecutable()
let started = 0

/** The options and the environment that the pool gives its agents, for the plain SDK: only the pooling differs. */
function plainOptions(target: Target, cwd: string, mark: string = target.dir): Options {
  const places = {
    home: join(target.dir, 'plain', 'home'),
    configDir: join(target.dir, 'plain', 'config'),
    tmpDir: join(target.dir, 'plain', 'tmp'),
  }
  for (const place of Object.values(places)) mkdirSync(place, { recursive: true })
  const host = hostEnvironment({ baseUrl: target.url, key: 'simulated' }, process.env)
  return {
    model: MODEL,
    permissionMode: 'dontAsk',
    mcpServersDelivery: 'initialize',
    settingSources: [],
    strictMcpConfig: true,
    verbatimPrompts: true,
    ...(claudePath === undefined ? {} : { pathToClaudeCodeExecutable: claudePath }),
    cwd,
    env: agentEnvironment(host, places, { [MARK]: mark }),
  }
}

/** One turn in a process of its own, as the SDK's documentation shows it; resolves when the process has ended. */
export async function oneTurnProcess(target: Target, cwd: string, resume: string): Promise<void> {
  const messages = query({ prompt: 'ping', options: { ...plainOptions(target, cwd), resume } })
  await timed(() => messages.next(), performance.now())
  while ((await messages.next()).done !== true);
}

/** A conversation of the plain SDK whose process stays. */
export class PlainConversation {
  readonly #prompt = new OpenPrompt()
  readonly #query: Query
  readonly #mark: string
  readonly ready: Promise<unknown>

  constructor(target: Target, cwd: string, extra: Options = {}) {
    started += 1
    this.#mark = `${target.dir}:plain${started}:`
    const options = { ...plainOptions(target, cwd, this.#mark), ...extra }
    this.#query = query({ prompt: this.#prompt, options })
    this.ready = this.#query.initializationResult()
    this.ready.catch(() => undefined)
  }

  send(text: string): void {
    this.#prompt.send(text)
  }

  next(): Promise<IteratorResult<SDKMessage, unknown>> {
    return this.#query.next()
  }

  turn(text: string, since: number = performance.now()): Promise<TurnTimes> {
    this.send(text)
    return timed(() => this.next(), since)
  }

  /** Resolves when the process is gone. */
  async close(): Promise<void> {
    this.#query.close()
    await gone(this.#mark)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A pool with one agent, `assistant`, which is ended with the benchmark. */
export async function startPool(
  target: Target & Partial<Pick<Bench, 'owned'>>,
  { agent = {}, ...options }: Omit<PoolOptions, 'agents'> & { agent?: AgentOptions } = {},
): Promise<Pool> {
  const pool = await createPool({
    dataDir: join(target.dir, 'pool'),
    api: { baseUrl: target.url, key: 'simulated' },
    agents: {
      assistant: {
        model: MODEL,
        spares: { max: 0 },
        unboundSpares: { max: 0 },
        env: { [MARK]: target.dir },
        ...agent,
      },
    },
    ...options,
  })
  target.owned?.defer(() => pool.close())
  return pool
}

/** Runs one turn on the pool; `warmth` is how it must have found its process. */
export async function poolTurn(
  session: Session,
  text: string,
  warmth: Warmth,
  since: number = performance.now(),
): Promise<TurnTimes> {
  const turn = session.send(text)
  const times = await timed(() => turn.next(), since)
  if (turn.warmth !== warmth) throw new Error(`a turn was ${turn.warmth}, not ${warmth}: this run measures nothing`)
  return times
}
