import type { InterruptReceipt, Query, SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
import { ErrorResultError, QueryEndedError, StartError } from '../errors.ts'
import type { Worker } from '../worker/worker.ts'
import type { ActiveSession, Follower } from '../sessions/active-session.ts'
import { toUserMessage } from '../turns/prompt.ts'
import { QueryControls, isControl, isOfStart } from './query-controls.ts'
import type { ControlMethod } from './query-controls.ts'
import { readQueryOptions } from './query-options.ts'
import type { QueryOptions, QueryPlan } from './query-options.ts'
import { QueryOutput, isTurn } from './query-output.ts'
import type { RunningTurn } from '../turns/running-turn.ts'

/** What the SDK's `query()` takes as its prompt. */
export type QueryPrompt = string | AsyncIterable<SDKUserMessage>

/** A conversation that a query works with. */
export interface QuerySession {
  conversation: ActiveSession
  /** The agent that brings the query's options; undefined: they are the session's own. */
  agent: string | undefined
  /** This query has begun it. */
  fresh: boolean
}

/** What a query asks of its pool. */
export interface QueryHost {
  /** Finds or begins what the query is about. It is not forgotten before it is given back. */
  open(plan: QueryPlan): Promise<QuerySession>
  send(session: QuerySession, message: SDKUserMessage, onWorker: (worker: Worker) => Promise<void>): RunningTurn
  /** The session's process, started if there is none. */
  worker(session: QuerySession): Promise<Worker>
  /** Gives back a session, with its process or without. */
  end(session: QuerySession, keep: { process: boolean }): Promise<void>
  /** The error that the SDK throws for an aborted query. */
  aborted(message: string): Error
  warn(message: string, error: unknown): void
}

/** One `pool.query()`: turns of one conversation as the SDK's message stream. */
class PoolQuery {
  readonly #prompt: QueryPrompt
  readonly #host: QueryHost
  readonly #plan: Promise<QueryPlan>
  readonly #session: Promise<QuerySession>
  readonly #messages: AsyncGenerator<SDKMessage, void>
  readonly #output = new QueryOutput()
  readonly #controls = new QueryControls()
  #turn: RunningTurn | undefined
  /** Streams of prompts that have not ended. */
  #feeding = 0
  #closed = false
  #aborted = false
  #finished: Promise<void> | undefined
  /** The process that knows what the query's was told, and hears its stderr. */
  #prepared: { worker: Worker; done: Promise<void> } | undefined

  constructor(prompt: QueryPrompt, options: QueryOptions, host: QueryHost) {
    this.#prompt = prompt
    this.#host = host
    this.#plan = planOf(options)
    this.#plan.catch(() => undefined)
    this.#session = this.#open()
    this.#session.catch(() => undefined)
    this.#messages = this.#run()
    void this.#feed(promptsOf(this.#prompt))
  }

  next(): Promise<IteratorResult<SDKMessage, void>> {
    return this.#messages.next()
  }

  async return(): Promise<IteratorResult<SDKMessage, void>> {
    this.close()
    return this.#messages.return()
  }

  throw(error: unknown): Promise<IteratorResult<SDKMessage, void>> {
    this.close()
    return this.#messages.throw(error)
  }

  async interrupt(): Promise<InterruptReceipt | undefined> {
    const turn = this.#turn
    if (turn !== undefined && turn.state !== 'ended') {
      await turn.interrupt()
      return turn.receipt
    }
    const worker = await this.#worker()
    return worker.process.interrupt()
  }

  streamInput(prompts: AsyncIterable<SDKUserMessage>): Promise<void> {
    if (this.#closed || this.#finished !== undefined) return Promise.reject(ended())
    return this.#feed(prompts)
  }

  async control(name: ControlMethod, args: readonly unknown[]): Promise<unknown> {
    const last = this.#finished === undefined || !isOfStart(name) ? undefined : this.#prepared?.worker
    return this.#controls.call(last ?? (await this.#worker()), name, args)
  }

  close(): void {
    this.#output.end()
    this.#stop()
  }

  async #open(): Promise<QuerySession> {
    const plan = await this.#plan
    const { signal } = plan
    if (signal?.aborted === true) throw this.#host.aborted('Operation aborted')
    signal?.addEventListener('abort', this.#abort, { once: true })
    const session = await this.#host.open(plan)
    session.conversation.follow(this.#follower)
    return session
  }

  readonly #abort = (): void => {
    this.#aborted = true
    this.#output.end(this.#host.aborted('Claude Code process aborted by user'))
    this.#stop()
  }

  readonly #follower: Follower = {
    // Only our own prompt ids make the CLI tell of its queue.
    said: (message) => {
      if ((message.type as string) !== 'command_lifecycle') this.#output.addAside(message)
    },
    ended: (error) => this.#output.end(error),
  }

  /** Ends what runs. Its reader finds the end at once. */
  #stop(): void {
    this.#closed = true
    void this.#turn?.return()
    void this.#finish()
  }

  /** Hands over prompts as they come: while a turn runs they steer it, as the SDK's do. */
  async #feed(prompts: AsyncIterable<string | SDKUserMessage>): Promise<void> {
    this.#feeding += 1
    try {
      const session = await this.#session
      for await (const prompt of prompts) {
        if (this.#closed) return
        await this.#hand(session, toUserMessage(prompt))
      }
    } catch (error) {
      this.#output.end(error)
    } finally {
      this.#feeding -= 1
      this.#endIfDone()
    }
  }

  async #hand(session: QuerySession, message: SDKUserMessage): Promise<void> {
    const running = this.#turn
    if (running !== undefined && (await running.steer(message, () => undefined))) return
    // What it failed with is what the query ends with.
    if (running?.failure !== undefined || this.#closed) return
    const turn = this.#host.send(session, message, (worker) => this.#prepare(worker))
    turn.awaitReader()
    this.#turn = turn
    this.#output.addTurn(turn)
    void turn.ended.then(() => this.#endIfDone())
  }

  #endIfDone(): void {
    if (this.#feeding > 0 || (this.#turn !== undefined && this.#turn.state !== 'ended')) return
    this.#output.end()
    void this.#finish()
  }

  async *#run(): AsyncGenerator<SDKMessage, void> {
    let last: SDKResultMessage | undefined
    try {
      for await (const item of this.#output) {
        if (!isTurn(item)) yield item
        else {
          for await (const message of item) {
            if (message.type === 'result') last = message
            yield message
          }
        }
      }
      if (last?.is_error === true && !this.#closed) throw new ErrorResultError(last.subtype, problemOf(last))
    } catch (error) {
      // No process came of it that could be listened to.
      if (error instanceof StartError && error.exit !== undefined) (await this.#stderr())(error.exit.stderr)
      throw error
    } finally {
      this.#closed = true
      const finished = this.#finish()
      // An abort does not wait, as with the SDK.
      if (!this.#aborted) await finished
    }
  }

  #finish(): Promise<void> {
    this.#finished ??= this.#giveBack()
    return this.#finished
  }

  async #giveBack(): Promise<void> {
    const cut = this.#closed
    const session = await this.#session.catch(() => undefined)
    const { signal } = (await this.#plan.catch(() => undefined)) ?? {}
    signal?.removeEventListener('abort', this.#abort)
    if (session === undefined) return
    if (cut) void this.#turn?.interrupt()
    await this.#turn?.ended
    session.conversation.unfollow(this.#follower)
    // A process whose options a query changed serves no other query.
    const process = !session.fresh && !this.#controls.any && !cut
    await this.#host
      .end(session, { process })
      .catch((error: unknown) => this.#host.warn('the session of a query could not be given back', error))
  }

  /** The process of the query, which knows all that it was told before. */
  async #worker(): Promise<Worker> {
    const session = await this.#session
    if (this.#finished !== undefined) throw ended()
    const worker = await this.#host.worker(session)
    await this.#prepare(worker)
    return worker
  }

  #prepare(worker: Worker): Promise<void> {
    if (this.#prepared?.worker !== worker) this.#prepared = { worker, done: this.#prepareNew(worker) }
    return this.#prepared.done
  }

  async #prepareNew(worker: Worker): Promise<void> {
    worker.process.onStderr(await this.#stderr())
    await this.#controls.repeat(worker)
  }

  /** What a listener of the caller throws must not end the host. */
  async #stderr(): Promise<(text: string) => void> {
    const { stderr } = await this.#plan
    return (text) => {
      try {
        stderr?.(text)
      } catch (error) {
        this.#host.warn('the stderr callback of a query threw', error)
      }
    }
  }
}

/** What is wrong with the options shows where the SDK's errors do. */
async function planOf(options: QueryOptions): Promise<QueryPlan> {
  return readQueryOptions(options)
}

const ended = (): QueryEndedError =>
  new QueryEndedError('the query has ended; go on with its session by another one with resume')

const problemOf = (result: SDKResultMessage): string =>
  result.subtype === 'success' ? result.result : result.errors.join('; ')

async function* promptsOf(prompt: QueryPrompt): AsyncGenerator<string | SDKUserMessage> {
  if (typeof prompt === 'string') yield prompt
  else yield* prompt
}

/** Opens a query. Its control methods are those of its process, which they start where there is none. */
export function openQuery(prompt: QueryPrompt, options: QueryOptions, host: QueryHost): Query {
  // As the SDK does, which hands over such a prompt at once.
  if (typeof prompt === 'string' && options.abortController?.signal.aborted === true)
    throw host.aborted('Operation aborted')
  const query = new PoolQuery(prompt, options, host)
  const own: Partial<Record<PropertyKey, unknown>> = {
    next: () => query.next(),
    return: () => query.return(),
    throw: (error: unknown) => query.throw(error),
    interrupt: () => query.interrupt(),
    streamInput: (prompts: AsyncIterable<SDKUserMessage>) => query.streamInput(prompts),
    close: () => query.close(),
    [Symbol.asyncDispose]: () => query.return().then(() => undefined),
  }
  const proxy: Query = new Proxy({} as Query, {
    get(_target, name) {
      if (name === Symbol.asyncIterator) return () => proxy
      if (name in own) return own[name]
      return isControl(name) ? (...args: unknown[]) => query.control(name, args) : undefined
    },
    has: (_target, name) => name === Symbol.asyncIterator || name in own || isControl(name),
  })
  return proxy
}
