import type { MemoryStats } from '../memory/governor.ts'
import type { Query } from '../driver/driver.ts'
import { ConfigError, PoolClosedError } from '../errors.ts'
import type { FileProblem } from '../errors.ts'
import type { Retention } from '../options/retention.ts'
import { checkOptions } from '../options/unknown.ts'
import type { RunFiles } from '../process/run-files.ts'
import type { PoolFiles, SessionPage, Store, SessionInfo } from '../store/store.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { Worker } from '../worker/worker.ts'
import type { PoolUsage } from '../usage/usage-ledger.ts'
import { readAgent } from '../agents/agent.ts'
import type { Agent, AgentOptions } from '../agents/agent.ts'
import type { Conversation } from '../sessions/active-session.ts'
import { Counters } from './counters.ts'
import type { Totals } from './counters.ts'
import { PoolEmitter } from '../events.ts'
import type { PoolEvents, WorkerDetails } from '../events.ts'
import { Fleet } from '../fleet/fleet.ts'
import type { FleetParts } from '../fleet/fleet.ts'
import { Pruning } from '../maintenance/prune.ts'
import type { PruneReport } from '../maintenance/prune.ts'
import { Queries } from '../queries/queries.ts'
import { openQuery } from '../queries/query.ts'
import type { QueryPrompt } from '../queries/query.ts'
import type { QueryOptions } from '../queries/query-options.ts'
import { Upkeep } from '../maintenance/export-import.ts'
import type { BackupReport, ExportOptions, ImportOptions } from '../maintenance/export-import.ts'
import type { Session } from '../sessions/session.ts'
import { recordRuns } from './record-runs.ts'
import { isOfQuery } from '../sessions/session-record.ts'
import { Sessions } from '../sessions/sessions.ts'
import type { SessionOptions } from '../sessions/sessions.ts'
import { Transcripts } from '../sessions/transcript-copies.ts'
import type { TranscriptsContext } from '../sessions/transcript-copies.ts'
import { storedBytes } from '../maintenance/stored-bytes.ts'
import { watchedStore } from '../store/watched-store.ts'
import { StoreHealth } from './store-health.ts'
import type { StoreHealthStats } from './store-health.ts'

/** What `pool.stats()` shows: one synchronous pass, so its numbers agree with each other. */
export interface PoolStats {
  turns: { running: number; waiting: number; limit: number }
  workers: Record<WorkerState, number> & { total: number; spares: number }
  starts: { running: number; waiting: number }
  memory: MemoryStats
  /** Whether what is said can be kept. */
  store: StoreHealthStats
  /** Sessions that this host works on now. */
  activeSessions: number
  /** Since the pool began. */
  totals: Totals
  /** Since the pool began, deleted sessions and queries included. */
  usage: PoolUsage
}

/** The parts of a pool, resolved and checked. */
export interface PoolParts extends FleetParts {
  agents: readonly Agent[]
  readAgents: (agents: Readonly<Record<string, AgentOptions>>) => Agent[]
  store: Store
  keepsEvents: boolean
  files: PoolFiles
  /** Where other processes read whose process is whose. */
  runFiles: Pick<RunFiles, 'write' | 'remove'>
  retention: Retention
  /** Whether what the CLI writes of a conversation is copied to the store. */
  copiesTranscripts: boolean
  /** The store's copies of a tenant's transcripts. */
  transcriptStore: TranscriptsContext['transcriptStore']
  /** Where other processes ask this pool. */
  control: { listen(pool: Pool): Promise<void>; close(): Promise<void> }
  /** Called last when the pool closes. */
  release: () => void
}

/** Sessions, and the processes that run them. Made by `createPool()`. */
export class Pool implements AsyncDisposable {
  readonly #parts: PoolParts
  readonly #agents = new Map<string, Agent>()
  /** Agents that were given one by one, beside those of the pool's options. */
  readonly #defined = new Map<string, Agent>()
  readonly #queries: Queries
  readonly #emitter = new PoolEmitter()
  readonly #counters: Counters
  readonly #sessions: Sessions
  readonly #fleet: Fleet
  readonly #upkeep: Upkeep
  readonly #pruning: Pruning
  readonly #storeHealth: StoreHealth
  readonly #listening: Promise<void>
  #closing: Promise<void> | undefined

  constructor(parts: PoolParts) {
    this.#parts = parts
    for (const agent of parts.agents) this.#agents.set(agent.name, agent)
    this.#counters = new Counters(this.#emitter)
    const agentOf = (name: string): Agent => this.#agentOf(name)
    const emitter = this.#emitter
    this.#storeHealth = new StoreHealth({ ...parts, emitter })
    const store = watchedStore(parts.store, parts.clock, (call) => {
      if (call.failed) this.#storeHealth.noteFailure(call.error)
      emitter.tell('store.called', call)
    })
    const transcripts = new Transcripts({ ...parts, emitter })
    this.#sessions = new Sessions({ ...parts, store, emitter, transcripts, agentOf, fleet: () => this.#fleet })
    this.#queries = new Queries({
      ...parts,
      store,
      sessions: this.#sessions,
      redefine: (name) => this.#fleet.redefine([name]),
      aborted: (message) => parts.driver.abortError(message),
      warn: (message, error) => emitter.tell('warning', { message, error }),
    })
    const conversationOf = ({ session }: Worker): Conversation | undefined =>
      session === undefined ? undefined : this.#sessions.active.get(session)
    this.#fleet = new Fleet({
      ...parts,
      emitter,
      transcripts,
      agentOf,
      findAgent: (name) => this.#findAgent(name),
      conversationOf,
      tend: () => {
        this.#pruning.tend()
        this.#storeHealth.tend()
      },
    })
    this.#upkeep = new Upkeep({
      ...parts,
      emitter,
      transcripts,
      sessions: this.#sessions.kept,
      cwdOfAgent: (name) => this.#findAgent(name)?.options.cwd,
    })
    this.#pruning = new Pruning({
      ...parts,
      emitter,
      sessions: this.#sessions.kept,
      inUse: () => this.#fleet.inUse,
    })
    parts.driver.attach({
      trouble: (message, error) => this.#emitter.tell('warning', { message, error }),
      reaped: (report) => this.#emitter.tell('orphans.reaped', report),
    })
    recordRuns(emitter, parts.runFiles)
    for (const agent of parts.agents) this.#fleet.keepSpares(agent, 'default')
    this.#listening = parts.control.listen(this).catch((error: unknown) => {
      this.#emitter.tell('warning', { message: 'other processes cannot ask this pool', error })
    })
  }

  /**
   * The session of this key, begun at its first use. Throws ConfigError (key, tenant, agent or cwd), SessionGoneError
   * (none has this key and no agent is named), SessionConflictError (it has another agent or cwd), PoolClosedError.
   */
  session(key: string, options: SessionOptions = {}): Promise<Session> {
    return this.#sessions.open(key, options)
  }

  /** Brings a session's process up ahead of its next message: the same as `warm()` of its handle. */
  async warm(key: string, options: SessionOptions = {}): Promise<void> {
    const session = await this.session(key, options)
    await session.warm()
  }

  /**
   * The SDK's `query()`, on the pool: the same options, messages and methods, also before the first message. Its session
   * can be resumed by its id as long as `retention.queries` says, or not at all with `persistSession: false`. `resume` also
   * takes the SDK's id of any other session, with the options of its agent. Its `env` adds to the pool's allow-list, and
   * the safe defaults of agents hold for what it leaves out. What is wrong is thrown where the SDK throws: from the
   * iteration and from its methods.
   */
  query(query: { prompt: QueryPrompt; options?: QueryOptions }): Query {
    checkOptions('query()', query, { prompt: true, options: true })
    const { prompt, options = {} } = query
    return openQuery(prompt, options, this.#queries)
  }

  /** Sessions by tenant and key, at most `limit` (default 100) after `after`. */
  sessions(page: Partial<SessionPage> = {}): Promise<SessionInfo[]> {
    return this.#sessions.list(page)
  }

  /** The keys of a tenant's sessions that run a turn now, or have one that waits for a place. */
  runningSessions(tenant = 'default'): string[] {
    return this.#sessions.runningKeys(tenant)
  }

  /** The names of the agents that sessions may use. */
  get agents(): string[] {
    return [...this.#agents.keys()]
  }

  /** The options of an agent, as they were given. Throws ConfigError when there is no such agent. */
  agentOptions(name: string): Readonly<AgentOptions> {
    return this.#agentOf(name).options
  }

  /**
   * Puts these agents in the place of all others, those that may stay as they are included. Turns that run finish with
   * what they began with, the next ones have the new definition, and processes with the old one leave once they are idle.
   * `residency`, spares and `limits.workerMemory` concern no process itself: they hold at once, also for those that are there.
   * Throws ConfigError, and has changed nothing then.
   */
  updateAgents(agents: Readonly<Record<string, AgentOptions>>): void {
    const next = this.#parts.readAgents(agents)
    if (this.#closing !== undefined) throw new PoolClosedError()
    const before = this.agents
    this.#agents.clear()
    for (const agent of next) this.#agents.set(agent.name, agent)
    this.#fleet.redefine([...before, ...this.agents])
  }

  /**
   * A session with its events, its transcript and (unless told otherwise) the workspace that the pool made for it, as
   * lines of JSON; returns the files that were left out, which are a `warning`, too. Throws SessionGoneError, SessionBusyError while a
   * turn of it runs, FilesError when its workspace is beyond all bounds.
   */
  exportSession(key: string, options: ExportOptions = {}): AsyncGenerator<string, readonly FileProblem[]> {
    return this.#upkeep.export(key, options)
  }

  /** Brings back a session from these lines, all of it or nothing. Throws ArchiveError, SessionConflictError, ConfigError. */
  async importSession(lines: AsyncIterable<string>, options: ImportOptions = {}): Promise<Session> {
    return this.#sessions.handle(await this.#upkeep.import(lines, options))
  }

  /** Removes now what has outlived its retention, at most 200 sessions; or only says what that is. */
  async prune(options: { dryRun?: boolean } = {}): Promise<PruneReport> {
    checkOptions('prune()', options, { dryRun: true })
    return this.#pruning.prune({ dryRun: options.dryRun ?? false })
  }

  /**
   * Ends all that runs for a tenant, and removes its sessions and directories. It may begin anew then. Throws FilesError when files
   * stay: all else is gone, and it can be repeated until they are.
   */
  eraseTenant(tenant: string): Promise<void> {
    return this.#upkeep.eraseTenant(tenant)
  }

  /** Bytes of a tenant's events, and of its copies of transcripts, as they are about now. Looks at each of its sessions. */
  storedBytes(tenant = 'default'): Promise<number> {
    return storedBytes(this.#parts.store, tenant)
  }

  /**
   * Writes a consistent copy of the data directory into a new one, while work goes on; resolves with the files that were left out, which
   * are a `warning`, too. Throws StoreError, ConfigError.
   */
  backup(path: string): Promise<BackupReport> {
    return this.#upkeep.backup(path)
  }

  /**
   * Gives the pool one more agent, beside those of its options and untouched by `updateAgents()`, or another definition of
   * one that was given so: for programs whose agents come and go. Throws ConfigError, PoolClosedError.
   */
  defineAgent(name: string, options: AgentOptions): void {
    const agent = readAgent(name, options)
    if (this.#closing !== undefined) throw new PoolClosedError()
    if (this.#agents.has(name))
      throw new ConfigError(`agents.${name}`, 'is one of the pool’s own; change it with updateAgents()')
    this.#defined.set(name, agent)
    this.#fleet.redefine([name])
  }

  /**
   * Forgets an agent that `defineAgent()` gave, and its spares. Its sessions stay, and need it again before their next turn.
   * False while one of them is at work, and for an agent that was not given so.
   */
  forgetAgent(name: string): boolean {
    if (!this.#defined.has(name) || this.#sessions.active.uses(name)) return false
    this.#defined.delete(name)
    this.#fleet.redefine([name])
    return true
  }

  /** Every worker that exists now, with every process of each. Reads the process table once: not for every request. */
  workers(): WorkerDetails[] {
    return this.#fleet.workers()
  }

  stats(): PoolStats {
    const { running, waiting, limit } = this.#fleet.gate.facts
    const { starting, waiting: startsWaiting } = this.#fleet.launcher.facts
    const { spares, ...states } = this.#fleet.byState()
    const total = Object.values(states).reduce((sum, count) => sum + count, 0)
    return {
      turns: { running, waiting, limit },
      workers: { ...states, total, spares },
      starts: { running: starting, waiting: startsWaiting },
      memory: this.#fleet.memory(),
      store: this.#storeHealth.stats,
      activeSessions: this.#sessions.active.size,
      totals: this.#counters.snapshot(),
      usage: this.#fleet.accounts.snapshot(),
    }
  }

  /**
   * Resolves when the spares that are being started now can be used, or have failed to start, which is a `warning`. Right after
   * `createPool()` these are the ones that are always kept (`spares.min`). For programs that wait before they take traffic.
   */
  ready(): Promise<void> {
    return this.#fleet.sparesSettled()
  }

  /** Lets no new turn start until `resume()`; running ones go on. With `admission.mode: 'wait'` new ones wait, else they are refused. */
  suspend(): void {
    this.#fleet.gate.suspend('suspended')
  }

  resume(): void {
    this.#fleet.gate.resume()
  }

  on<Name extends keyof PoolEvents>(name: Name, listener: (...args: PoolEvents[Name]) => void): this {
    this.#emitter.on(name, listener as never)
    return this
  }

  off<Name extends keyof PoolEvents>(name: Name, listener: (...args: PoolEvents[Name]) => void): this {
    this.#emitter.off(name, listener as never)
    return this
  }

  /**
   * Takes no new turns, lets the running ones end, then closes. Those that `cut` finds still running end with
   * PoolClosedError; without it they may take as long as their limits give them.
   */
  async drain(options: { cut?: AbortSignal } = {}): Promise<void> {
    checkOptions('drain()', options, { cut: true })
    const { cut } = options
    this.#fleet.gate.suspend('draining')
    await Promise.race([this.#sessions.settled(), aborted(cut)])
    await this.close()
  }

  /**
   * Ends all turns (PoolClosedError) and every process, also those that are starting; resolves when none is left. The
   * sessions stay. Repeated calls share one promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.#fleet.stop()
    const turns = this.#sessions.close(
      new PoolClosedError('the pool was closed during the turn; its session goes on with the next one', {
        duringTurn: true,
      }),
    )
    const upkeep = Promise.all([
      this.#listening.then(() => this.#parts.control.close()),
      this.#pruning.stop(),
      this.#storeHealth.stop(),
    ])
    await this.#fleet.endAll()
    await turns
    await upkeep
    await this.#parts.driver.close()
    await this.#parts.store.close()
    this.#parts.release()
  }

  #findAgent(name: string): Agent | undefined {
    return this.#agents.get(name) ?? this.#defined.get(name) ?? this.#queries.agent(name)
  }

  #agentOf(name: string): Agent {
    const agent = this.#findAgent(name)
    if (agent !== undefined) return agent
    if (isOfQuery({ agent: name }))
      throw new ConfigError('agent', `"${name}" came with a query; go on with its session by pool.query() with resume`)
    const known = [...this.#agents.keys()].join(', ')
    throw new ConfigError('agent', `there is no agent "${name}"; known are: ${known === '' ? 'none' : known}`)
  }
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve()
    signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}
