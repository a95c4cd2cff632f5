import type { MemoryStats } from '../memory/governor.ts'
import type { Driver, Query } from '../driver/driver.ts'
import { ConfigError, PoolClosedError } from '../errors.ts'
import type { FileProblem } from '../errors.ts'
import type { ApiOptions } from '../options/api.ts'
import { readBudget } from '../options/budgets.ts'
import type { BudgetOptions } from '../options/budgets.ts'
import type { EgressOptions } from '../options/egress.ts'
import type { Retention } from '../options/retention.ts'
import { checkOptions } from '../options/unknown.ts'
import type { RunFiles } from '../process/run-files.ts'
import type { ApiStore } from '../store/api-store.ts'
import type { HostInfo, HostMember, PoolFiles, SessionPage, Spending, Store, SessionInfo } from '../store/store.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { UsageLedger, PoolUsage } from '../usage/usage-ledger.ts'
import { readAgent } from '../agents/agent.ts'
import type { Agent, AgentOptions } from '../agents/agent.ts'
import type { Agents } from '../agents/catalogue.ts'
import type { Clock } from '../clock.ts'
import type { Membership } from '../cluster/membership.ts'
import type { ClusterPort } from '../cluster/open-port.ts'
import { Peers } from '../cluster/peers.ts'
import { PoolCluster } from './cluster.ts'
import { Counters } from './counters.ts'
import type { Totals } from './counters.ts'
import { PoolEmitter } from '../events.ts'
import type { PoolEvents, TurnInfo, WaitStats, WorkerDetails } from '../events.ts'
import type { Credentials } from '../fleet/credentials.ts'
import { ModelCalls } from '../fleet/model-calls.ts'
import type { ModelAnswer, ModelRequest } from '../fleet/model-calls.ts'
import { Fleet } from '../fleet/fleet.ts'
import type { FleetSettings } from '../fleet/fleet.ts'
import type { WorkerClosing } from '../fleet/close-worker.ts'
import type { Confines, ProcessHost } from '../fleet/starter.ts'
import type { ArchivePart, ArchiveParts } from '../maintenance/archive-part.ts'
import { Backup } from '../maintenance/backup.ts'
import { TenantErasure } from '../maintenance/erase-tenant.ts'
import { Prune } from '../maintenance/prune.ts'
import type { PruneReport } from '../maintenance/prune.ts'
import { Queries } from '../queries/queries.ts'
import { openQuery } from '../queries/query.ts'
import type { QueryPrompt } from '../queries/query.ts'
import type { QueryOptions } from '../queries/query-options.ts'
import { DiskUse } from '../maintenance/disk-use.ts'
import type { TenantDiskUse } from '../maintenance/disk-use.ts'
import { SessionExport } from '../maintenance/export-session.ts'
import { SessionImport } from '../maintenance/import-session.ts'
import type { Session } from '../sessions/session.ts'
import { recordRuns } from './record-runs.ts'
import { checkName } from '../sessions/session-record.ts'
import { Sessions } from '../sessions/sessions.ts'
import type { SessionOptions } from '../sessions/sessions.ts'
import { TranscriptCopies } from '../sessions/transcript-copies.ts'
import { storedBytes } from '../maintenance/stored-bytes.ts'
import type { MemorySource } from '../memory/source.ts'
import { watchStore } from '../store/watched-store.ts'
import { Housekeeper } from './housekeeper.ts'
import { Takeover } from './takeover.ts'
import { StoreHealth } from './store-health.ts'
import type { StoreHealthStats } from './store-health.ts'
import type { BackupReport } from '../maintenance/backup.ts'
import type { ExportOptions } from '../maintenance/export-session.ts'
import type { ImportOptions } from '../maintenance/import-session.ts'

/** What separates agents from the host. */
export interface IsolationStats {
  mode: 'none' | 'bubblewrap' | 'user'
  /** Of processes whose tenant and agent have no list of their own. */
  egress: EgressOptions
  /** The cgroups that each worker has, and what they can limit; undefined: none. */
  cgroup: { version: 1 | 2; controllers: ('memory' | 'pids' | 'cpu')[] } | undefined
}

/** What `pool.stats()` shows: one synchronous pass, so its numbers agree with each other. */
export interface PoolStats {
  turns: { running: number; waiting: number; limit: number }
  /** Why turns are queued, and which one waits longest. */
  waits: WaitStats
  /** Whether turns are held back by `suspend()`: all, and those of these tenants. */
  suspended: { pool: boolean; tenants: string[] }
  workers: Record<WorkerState, number> & { total: number; spares: number }
  starts: { running: number; waiting: number }
  memory: MemoryStats
  /** Whether the store can write, and how long its oldest unfinished call has been running, in milliseconds. */
  store: StoreHealthStats & { lagMs: number }
  /** What separates agents from the host, as resolved when the pool was created. */
  isolation: IsolationStats
  /** Sessions that this host works on now. */
  activeSessions: number
  /** Since the pool began. */
  totals: Totals
  /** Since the pool began, deleted sessions and queries included. */
  usage: PoolUsage
}

/** What the pool's options say, resolved and checked. */
export interface PoolSettings extends FleetSettings {
  retention: Retention
  /** Whether what is said in sessions is kept as events. */
  keepsEvents: boolean
}

/** Says how processes are confined, and what acts for a tenant. */
export interface PoolConfines extends Confines {
  /** Throws ConfigError for an agent whose isolation this pool cannot give. */
  checkLater(path: string, agent: Agent): void
  /** Whether what acts for a tenant may reach a URL. */
  reaches(tenant: string, url: URL): boolean
  readonly egressProblem: string | undefined
}

/** What a pool finds on its host. */
export interface PoolHost extends Omit<ProcessHost, 'driver' | 'places' | 'confinements'> {
  files: PoolFiles
  /** Where other processes read whose process is whose. */
  runFiles: Pick<RunFiles, 'write' | 'remove'>
  /** Where other processes ask this pool. */
  control: { listen(pool: Pool): Promise<void>; close(): Promise<void> }
  /** Replaces how processes reach the model. Throws ConfigError. */
  updateApi: (api: ApiOptions) => void
  /** Where the credential of a tenant is. */
  modelEnvironment: (tenant: string) => Record<string, string>
  /** Tells of credentials that were read again. */
  refreshed?: {
    attach(listeners: { renewed: () => void; trouble: (message: string, error: unknown) => void }): void
    close(): void
  }
  /** Default: none. */
  isolation?: IsolationStats
  /** Default: nothing is confined. */
  confinements?: PoolConfines | undefined
  /** Called last when the pool closes. */
  release: () => void
}

/** The parts of a pool that differ between a real host and a test. */
export interface PoolParts {
  clock: Clock
  driver: Driver
  store: Store
  /** This host among those of the store. */
  member: HostMember
  /** It beats, if there may be other hosts. */
  membership?: Membership | undefined
  /** Where the other hosts reach this one. Default: nowhere. */
  peers?: ClusterPort | undefined
  memory: MemorySource
  agents: Agents
  ledger: UsageLedger
  settings: PoolSettings
  host: PoolHost
}

const isolationOf = ({
  isolation = { mode: 'none', egress: 'open', cgroup: undefined },
}: PoolHost): IsolationStats => ({ ...isolation })

/** Sessions, and the processes that run them. Made by `createPool()`. */
export class Pool implements AsyncDisposable {
  readonly #parts: PoolParts
  readonly #agents: Agents
  readonly #emitter = new PoolEmitter()
  readonly #counters: Counters
  readonly #storeHealth: StoreHealth
  readonly #storeLagMs: () => number
  readonly #fleet: Fleet
  readonly #sessions: Sessions
  readonly #queries: Queries
  readonly #maintenance: Maintenance
  readonly #archiveParts: ArchiveParts = new Map()
  readonly #housekeeper: Housekeeper
  readonly #takeover: Takeover | undefined
  readonly #cluster: PoolCluster | undefined
  readonly #listening: Promise<void>
  readonly #modelCalls: ModelCalls
  #closing: Promise<void> | undefined

  constructor(parts: PoolParts) {
    this.#parts = parts
    this.#agents = parts.agents
    const { clock, driver, agents, memory, ledger, settings, host } = parts
    const emitter = this.#emitter
    const { files, tenantFiles, environment, credentials, claudePath, transcripts: transcriptStores } = host
    this.#modelCalls = new ModelCalls({ credentials, environment: host.modelEnvironment })
    host.refreshed?.attach({
      renewed: () => credentials?.renew(),
      trouble: (message, error) => emitter.tell('warning', { message, error }),
    })
    this.#counters = new Counters(emitter)
    this.#storeHealth = new StoreHealth({ clock, emitter, files })
    const storeHealth = this.#storeHealth
    const watched = watchStore(parts.store, clock, (call) => {
      if (call.failed) storeHealth.recordFailure(call.error)
      emitter.tell('store.called', call)
    })
    const { store } = watched
    this.#storeLagMs = watched.lagMs
    this.#fleet = new Fleet({
      clock,
      emitter,
      agents,
      settings,
      memory,
      mayStart: () => parts.member.isValid,
      host: {
        driver,
        places: files,
        tenantFiles,
        environment,
        credentials,
        claudePath,
        confinements: host.confinements,
        transcripts: transcriptStores,
      },
    })
    const fleet = this.#fleet
    const transcripts = new TranscriptCopies({ clock, driver, emitter, files, transcripts: transcriptStores })
    const { member, membership } = parts
    const peers = openPeers(parts, emitter)
    const services = { clock, emitter, agents, peers }
    this.#sessions = new Sessions({ store, member, driver, fleet, ledger, settings, transcripts, services, host })
    if (peers !== undefined && membership !== undefined)
      this.#cluster = new PoolCluster({
        membership,
        peers,
        sessions: this.#sessions,
        isDraining: () => fleet.gate.draining,
      })
    const { stored } = this.#sessions
    this.#queries = new Queries({ clock, store, sessions: this.#sessions, agents, driver, emitter })
    const { retention } = settings
    const archived = this.#archiveParts
    this.#maintenance = {
      pruning: new Prune({ clock, files, store, driver, retention, tenantFiles, sessions: stored, emitter, member }),
      backup: new Backup({ store, files, emitter }),
      erasure: new TenantErasure({ store, files, sessions: stored }),
      diskUse: new DiskUse({ clock, store, files, emitter }),
      exporting: new SessionExport({
        clock,
        store,
        sessions: stored,
        transcripts,
        tenantFiles,
        files,
        emitter,
        parts: archived,
      }),
      importing: new SessionImport({
        store,
        driver,
        sessions: stored,
        transcripts,
        files,
        tenantFiles,
        agents,
        parts: archived,
      }),
    }
    this.#housekeeper = new Housekeeper(clock, [fleet, this.#maintenance.pruning, storeHealth])
    driver.attach({
      trouble: (message, error) => emitter.tell('warning', { message, error }),
      reaped: (report) => emitter.tell('orphans.reaped', report),
    })
    recordRuns(emitter, host.runFiles)
    if (membership !== undefined) {
      const sessions = this.#sessions
      const onDeparted = (id: string): void => peers?.departed(id)
      const { gate } = fleet
      this.#takeover = new Takeover({ clock, driver, store, emitter, gate, ledger, sessions, member, onDeparted })
      membership.start(this.#takeover)
    }
    for (const agent of agents.own) fleet.keepSpares(agent, 'default')
    this.#listening = host.control.listen(this).catch((error: unknown) => {
      emitter.tell('warning', { message: 'other processes cannot ask this pool', error })
    })
  }

  /** Whether sessions have events: the option `events`. */
  get keepsEvents(): boolean {
    return this.#parts.settings.keepsEvents
  }

  /** The other hosts, for a server that passes requests on to them; undefined without `cluster`. */
  get cluster(): PoolCluster | undefined {
    return this.#cluster
  }

  /**
   * Returns the session of this key, and creates it at its first use. Throws ConfigError (key, tenant, agent or cwd),
   * SessionGoneError (none has this key and no agent is named), SessionConflictError (it has another agent or cwd),
   * PoolClosedError.
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
   * The SDK's `query()`, on the pool: the same options, messages and methods, also before the first message. Its
   * session can be resumed by its id as long as `retention.queries` says, or not at all with `persistSession: false`.
   * `resume` also takes the SDK's id of any other session, with the options of its agent. Its `env` adds to the pool's
   * allow-list, and the safe defaults of agents apply to missing options. It throws like the SDK: from the iteration
   * and from its methods.
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
    return this.#agents.names
  }

  /** The options of an agent, as they were given. Throws ConfigError when there is no such agent. */
  agentOptions(name: string): Readonly<AgentOptions> {
    return this.#agents.of(name).options
  }

  /**
   * Replaces all agents of the pool's options by these; include the unchanged ones. Running turns finish with the old
   * definition, and new turns have the new one. Processes with the old one are closed when they are idle. `residency`,
   * spares and `limits.workerMemory` are not part of a process: they apply at once, also to existing processes. Throws
   * ConfigError, and has changed nothing then.
   */
  updateAgents(agents: Readonly<Record<string, AgentOptions>>): void {
    const next = this.#agents.read(agents)
    for (const agent of next) this.#parts.host.confinements?.checkLater(`agents.${agent.name}.isolation`, agent)
    if (this.#closing !== undefined) throw new PoolClosedError()
    this.#agents.update(next)
    void this.#parts.membership?.describe().catch((error: unknown) => {
      this.#emitter.tell('warning', { message: 'the other hosts do not know of the new agents yet', error })
    })
  }

  /**
   * Exports a session as lines of JSON: its events, its transcript and, by default, the workspace that the pool
   * created. Returns the files that were left out; they are also a `warning`. Throws SessionGoneError, SessionBusyError
   * while a turn of it runs, FilesError when its workspace is beyond all bounds.
   */
  exportSession(key: string, options: ExportOptions = {}): AsyncGenerator<string, readonly FileProblem[]> {
    return this.#maintenance.exporting.lines(key, options)
  }

  /** Brings back a session from these lines, all of it or nothing. Throws ArchiveError, SessionConflictError, ConfigError. */
  async importSession(lines: AsyncIterable<string>, options: ImportOptions = {}): Promise<Session> {
    return this.#sessions.handle(await this.#maintenance.importing.read(lines, options))
  }

  /**
   * Adds what its caller keeps of sessions beside the pool to their exports, and gives it back when they are imported. `createServer()` does so
   * for the sessions of `/v1`. One of the same name takes its place.
   */
  archiveAlso(part: ArchivePart): void {
    this.#archiveParts.set(part.name, part)
  }

  /** Applies retention now, to at most 200 sessions. A dry run only reports what it would remove. */
  async prune(options: { dryRun?: boolean } = {}): Promise<PruneReport> {
    checkOptions('prune()', options, { dryRun: true })
    return this.#maintenance.pruning.prune({ dryRun: options.dryRun ?? false })
  }

  /**
   * Ends all processes of a tenant, and removes its sessions and directories. It may start again then. Throws
   * FilesError if files stay: everything else is gone. Repeat it until they are gone too.
   */
  async eraseTenant(tenant: string): Promise<void> {
    await this.#maintenance.erasure.erase(tenant)
    this.#emitter.tell('tenant.erased', { tenant })
  }

  /**
   * What the files of each tenant with sessions take on the disk of this host: its workspaces, config directories and home, of 1,000
   * tenants at most. As last counted: nothing at first. A call starts a count if the last one is ten minutes old.
   */
  diskUse(): readonly TenantDiskUse[] {
    return this.#maintenance.diskUse.read()
  }

  /** Bytes of a tenant's events, and of its copies of transcripts, as they are about now. Looks at each of its sessions. */
  storedBytes(tenant = 'default'): Promise<number> {
    return storedBytes(this.#parts.store, tenant)
  }

  /**
   * Writes a consistent copy of the data directory into a new one, while turns run. Resolves with the files that were
   * left out; they are also a `warning`. Throws StoreError, ConfigError.
   */
  backup(path: string): Promise<BackupReport> {
    return this.#maintenance.backup.write(path)
  }

  /**
   * Adds an agent to those of the pool's options, or replaces one that was added. `updateAgents()` does not change it.
   * For programs that create agents at run time. Throws ConfigError, PoolClosedError.
   */
  defineAgent(name: string, options: AgentOptions): void {
    const agent = readAgent(name, options)
    this.#parts.host.confinements?.checkLater(`agents.${name}.isolation`, agent)
    if (this.#closing !== undefined) throw new PoolClosedError()
    this.#agents.define(agent)
  }

  /**
   * Forgets an agent that `defineAgent()` gave, and its spares. Its sessions stay, and need it again before their next turn.
   * False while one of them is at work, and for an agent that was not given so.
   */
  forgetAgent(name: string): boolean {
    if (!this.#agents.isDefined(name) || this.#sessions.active.uses(name)) return false
    this.#agents.forget(name)
    return true
  }

  /**
   * Replaces how the model is reached. The next call of running processes also has the new credential. Without the
   * credential proxy, running processes keep the old one. Throws ConfigError, and has changed nothing then.
   */
  updateApi(api: ApiOptions): void {
    if (this.#closing !== undefined) throw new PoolClosedError()
    this.#parts.host.updateApi(api)
    this.#parts.host.credentials?.renew()
  }

  /**
   * A tenant's budget, and its usage in the current period. Usage is counted only with a budget. Throws ConfigError
   * without the credential proxy, StoreError.
   */
  async budget(tenant = 'default'): Promise<{ budget: BudgetOptions | undefined; spent: Spending }> {
    return this.#budgets.budget(tenant)
  }

  /**
   * Sets a tenant's budget in place of `budgets.tenant`. The store keeps it. Undefined restores `budgets.tenant`.
   * Throws ConfigError, StoreError.
   */
  async setBudget(tenant: string, budget: BudgetOptions | undefined): Promise<void> {
    if (this.#closing !== undefined) throw new PoolClosedError()
    checkName('tenant', tenant)
    await this.#budgets.setBudget(tenant, budget === undefined ? undefined : readBudget('budget', budget))
  }

  /**
   * Calls the model's own API for a tenant, through the credential proxy: `tenant` pays, and its budget holds. Resolves when the
   * headers of the answer are there. Throws ConfigError if the proxy does not hold a key of Anthropic's API, StartError if it
   * does not start, PoolClosedError, and the error of the signal.
   */
  async callModel(tenant: string, request: ModelRequest): Promise<ModelAnswer> {
    if (this.#closing !== undefined) throw new PoolClosedError()
    return this.#modelCalls.call(tenant, request)
  }

  /** Whether `isolation.egress` lets what acts for a tenant reach a URL. The host asks it for what it fetches on their behalf. */
  allowsEgress(tenant: string, url: URL): boolean {
    return this.#parts.host.confinements?.reaches(tenant, url) ?? true
  }

  /** Why `isolation.egress` of an agent that is defined now would not hold; undefined: it would. */
  get egressProblem(): string | undefined {
    const { confinements } = this.#parts.host
    return confinements === undefined ? 'agents run without a sandbox' : confinements.egressProblem
  }

  /** Every worker that exists now, with every process of each. Reads the process table once: not for every request. */
  workers(): WorkerDetails[] {
    return this.#fleet.workers()
  }

  /** Every turn that has not ended, oldest first: what it does or waits for, since when, and how long each phase took so far. */
  turns(): TurnInfo[] {
    return this.#sessions.turns.open.all
  }

  /** The hosts that share the store, this one included, as the last beat showed them. Empty: the store has one host at a time. */
  hosts(): (HostInfo & { isThisHost: boolean })[] {
    const { membership } = this.#parts
    return (membership?.hosts ?? []).map((host) => ({ ...host, isThisHost: host.id === membership?.id }))
  }

  /** What the store keeps for servers, shared by all hosts; undefined if each server keeps it by itself. */
  get apiStore(): ApiStore | undefined {
    return this.#parts.store.api
  }

  stats(): PoolStats {
    const { running, waiting, limit } = this.#fleet.gate.facts
    const { starting, waiting: startsWaiting } = this.#fleet.launcher.facts
    const { spares, ...states } = this.#fleet.byState()
    const total = Object.values(states).reduce((sum, count) => sum + count, 0)
    return {
      turns: { running, waiting, limit },
      waits: this.#sessions.turns.open.waits,
      suspended: { pool: this.#fleet.gate.suspended, tenants: this.#fleet.gate.suspendedTenants },
      workers: { ...states, total, spares },
      starts: { running: starting, waiting: startsWaiting },
      memory: this.#fleet.memory(),
      store: { ...this.#storeHealth.stats, lagMs: this.#storeLagMs() },
      isolation: isolationOf(this.#parts.host),
      activeSessions: this.#sessions.active.size,
      totals: this.#counters.snapshot(),
      usage: this.#parts.ledger.snapshot(),
    }
  }

  /**
   * Resolves when the spares that are being started now can be used, or have failed to start, which is a `warning`. Right after
   * `createPool()` these are the ones that are always kept (`spares.min`). For programs that wait before they take traffic.
   */
  ready(): Promise<void> {
    return this.#fleet.spares.settled()
  }

  /**
   * Lets no new turn start until `resume()`, or none of one tenant; running ones go on. With `admission.mode: 'wait'` new
   * ones wait, else they are refused. Holds until this pool closes. Throws ConfigError, PoolClosedError while it drains.
   */
  suspend(options: { tenant?: string } = {}): void {
    const tenant = tenantOf('suspend()', options)
    if (tenant === undefined) this.#fleet.gate.suspend('suspended')
    else this.#fleet.gate.suspendTenant(tenant)
  }

  /** Ends `suspend()` of the pool, or of this tenant: each ends its own. Throws ConfigError, PoolClosedError. */
  resume(options: { tenant?: string } = {}): void {
    const tenant = tenantOf('resume()', options)
    if (tenant === undefined) this.#fleet.gate.resume()
    else this.#fleet.gate.resumeTenant(tenant)
  }

  /**
   * Closes a worker: at once when it is idle, else with its turn (`'after_turn'`). Its session stays. `now: true` ends it in
   * mid-turn, whatever it works on; the turn fails with WorkerExitedError. Throws ConfigError (no such worker),
   * SessionBusyError if an idle one still works on something.
   */
  closeWorker(id: string, options: { now?: boolean } = {}): Promise<WorkerClosing> {
    checkOptions('closeWorker()', options, { now: true })
    return this.#fleet.closeWorker(id, { now: options.now ?? false })
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
   * Takes no new turns, lets the running ones end, then closes. When `cut` is aborted, turns that still run end with
   * PoolClosedError. Without `cut` only their own limits apply.
   */
  async drain(options: { cut?: AbortSignal } = {}): Promise<void> {
    checkOptions('drain()', options, { cut: true })
    const { cut } = options
    this.#fleet.gate.suspend('draining')
    // The others learn at once that this host takes nothing.
    void this.#parts.membership?.hurry()
    const error = new PoolClosedError()
    // A process that has yet to start would hold up the end of this host, and there is one that can start it.
    if (this.hosts().some(({ state, isThisHost }) => state === 'ready' && !isThisHost))
      for (const session of this.#sessions.active) session.handOver(error)
    await Promise.race([this.#sessions.turns.ended(), aborted(cut)])
    await this.close()
  }

  /**
   * Ends all turns (PoolClosedError) and every process, also starting ones; resolves when none is left. The sessions
   * stay. Repeated calls share one promise.
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
    // A database that is away must not hold up the end of this host for as long as it would hold up a turn.
    this.#parts.store.hurry?.()
    this.#housekeeper.stop()
    this.#maintenance.diskUse.stop()
    const takeover = this.#takeover?.stop()
    const turns = this.#sessions.close(
      new PoolClosedError('the pool was closed during the turn; its session goes on with the next one', {
        duringTurn: true,
      }),
    )
    const upkeep = Promise.all([
      this.#listening.then(() => this.#parts.host.control.close()),
      this.#maintenance.pruning.stop(),
      this.#storeHealth.stop(),
    ])
    await this.#fleet.endAll()
    await turns
    await upkeep
    await this.#parts.driver.close()
    this.#modelCalls.close()
    this.#parts.host.refreshed?.close()
    await this.#parts.host.credentials?.close()
    await takeover
    await this.#cluster?.close()
    // Until here the processes of this host need its lease.
    await this.#parts.membership?.stop()
    await this.#parts.store.close()
    this.#parts.host.release()
  }

  get #budgets(): Credentials {
    const { credentials } = this.#parts.host
    if (credentials === undefined) throw new ConfigError('budgets', 'need the credential proxy (isolation.credentials)')
    return credentials
  }
}

function tenantOf(method: string, options: { tenant?: string }): string | undefined {
  checkOptions(method, options, { tenant: true })
  if (options.tenant !== undefined) checkName('tenant', options.tenant)
  return options.tenant
}

/** How what is kept is bounded, and gets out and in. */
/** The way to the other hosts, if there is one. */
function openPeers({ clock, membership, peers, store }: PoolParts, emitter: PoolEmitter): Peers | undefined {
  if (peers === undefined || membership === undefined || store.hosts === undefined) return undefined
  const trouble = (message: string, error: unknown): void => emitter.tell('warning', { message, error })
  return new Peers({ ...peers, clock, membership, directory: store.hosts, trouble })
}

interface Maintenance {
  pruning: Prune
  diskUse: DiskUse
  backup: Backup
  erasure: TenantErasure
  exporting: SessionExport
  importing: SessionImport
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve()
    signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}
