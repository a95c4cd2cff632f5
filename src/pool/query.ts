import type { Options, Query, SDKMessage, SDKUserMessage } from '../driver/driver.ts'
import { ConfigError, ResumeError } from '../errors.ts'
import type { Conversation } from './conversation.ts'
import type { Turn } from './turn.ts'

/** What the SDK's `query()` takes as its prompt. */
export type QueryPrompt = string | AsyncIterable<SDKUserMessage>

/** What a query asks of its pool. */
export interface QueryHost {
  /** A conversation of its own, with these options. */
  begin(options: Options): Promise<Conversation>
  find(sdkSessionId: string): Promise<Conversation | undefined>
  send(conversation: Conversation, message: string | SDKUserMessage): Turn
  end(conversation: Conversation): Promise<void>
}

/** Options that may stand beside `resume` or `sessionId`: the session's agent has all others. */
const BESIDE_RESUME = new Set(['resume', 'sessionId', 'abortController'])

/** One `pool.query()`: turns of one conversation as the SDK's message stream. */
class PoolQuery {
  readonly #prompt: QueryPrompt
  readonly #options: Options
  readonly #host: QueryHost
  readonly #messages: AsyncGenerator<SDKMessage, void>
  #conversation: Conversation | undefined
  #turn: Turn | undefined
  #closed = false

  constructor(prompt: QueryPrompt, options: Options, host: QueryHost) {
    this.#prompt = prompt
    this.#options = options
    this.#host = host
    this.#messages = this.#run()
  }

  next(): Promise<IteratorResult<SDKMessage, void>> {
    return this.#messages.next()
  }

  return(): Promise<IteratorResult<SDKMessage, void>> {
    return this.#messages.return()
  }

  throw(error: unknown): Promise<IteratorResult<SDKMessage, void>> {
    return this.#messages.throw(error)
  }

  async interrupt(): Promise<void> {
    await this.#turn?.interrupt()
  }

  close(): void {
    this.#closed = true
    void this.#turn?.return?.()
    void this.#messages.return()
  }

  /** The SDK's own query of the process that runs the turn, for its control methods. */
  get live(): Query {
    const query = this.#conversation?.worker?.process.query
    if (query === undefined)
      throw new ConfigError('query', 'has no process yet; ask again when its first message has come')
    return query
  }

  async *#run(): AsyncGenerator<SDKMessage, void> {
    const conversation = await this.#open()
    this.#conversation = conversation
    const stop = (): void => void this.#turn?.interrupt()
    const signal = this.#options.abortController?.signal
    signal?.addEventListener('abort', stop, { once: true })
    try {
      for await (const message of promptsOf(this.#prompt)) {
        if (this.#closed || signal?.aborted === true) return
        this.#turn = this.#host.send(conversation, message)
        yield* this.#turn
      }
    } finally {
      signal?.removeEventListener('abort', stop)
      if (conversation.ephemeral) await this.#host.end(conversation)
    }
  }

  async #open(): Promise<Conversation> {
    const { resume, sessionId } = this.#options
    const id = resume ?? sessionId
    if (id === undefined) return this.#host.begin(this.#options)
    const other = Object.keys(this.#options).find((key) => !BESIDE_RESUME.has(key))
    if (other !== undefined) {
      throw new ConfigError(
        `options.${other}`,
        'cannot stand beside resume or sessionId: the session has the options of its agent',
      )
    }
    const conversation = await this.#host.find(id)
    if (conversation === undefined) {
      throw new ResumeError(`this pool has no session with the SDK id ${id}; sessions are begun with pool.session()`)
    }
    return conversation
  }
}

async function* promptsOf(prompt: QueryPrompt): AsyncGenerator<string | SDKUserMessage> {
  if (typeof prompt === 'string') yield prompt
  else yield* prompt
}

/** Opens a query whose control methods beyond `interrupt` and `close` are those of the process that runs it. */
export function openQuery(prompt: QueryPrompt, options: Options, host: QueryHost): Query {
  const query = new PoolQuery(prompt, options, host)
  const own: Partial<Record<PropertyKey, unknown>> = {
    next: () => query.next(),
    return: () => query.return(),
    throw: (error: unknown) => query.throw(error),
    interrupt: () => query.interrupt(),
    close: () => query.close(),
    [Symbol.asyncDispose]: () => query.return().then(() => undefined),
  }
  const proxy: Query = new Proxy({} as Query, {
    get(_target, name) {
      if (name === Symbol.asyncIterator) return () => proxy
      // A thenable would be awaited away by whoever returns it from an async function.
      if (name === 'then') return undefined
      if (name in own) return own[name]
      if (typeof name === 'symbol') return undefined
      return async (...args: unknown[]): Promise<unknown> => {
        const method = Reflect.get(query.live, name) as unknown
        if (typeof method !== 'function') throw new TypeError(`query.${name} is not a function of this SDK`)
        return Reflect.apply(method, query.live, args) as unknown
      }
    },
  })
  return proxy
}
