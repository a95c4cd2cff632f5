import { repeatedly } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { Driver, SDKMessage } from '../driver/driver.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { Governor } from '../memory/governor.ts'
import type { MemoryStats } from '../memory/governor.ts'
import type { MemorySource } from '../memory/source.ts'
import type { Admission } from '../options/admission.ts'
import type { Limits } from '../options/limits.ts'
import type { Residency } from '../options/residency.ts'
import type { Starts } from '../options/starts.ts'
import type { TenantPlaces } from '../store/store.ts'
import { Health } from '../worker/health.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { Worker, WorkerListeners } from '../worker/worker.ts'
import type { Accounts } from '../usage/usage-ledger.ts'
import type { Agent } from '../agents/agent.ts'
import type { Conversation } from '../sessions/active-session.ts'
import { Dispatch } from '../sessions/run-turn.ts'
import type { PoolEmitter, WorkerDetails, WorkerInfo } from '../events.ts'
import { fingerprintOf } from '../agents/fingerprint.ts'
import { Gate } from '../admission/gate.ts'
import { LargeTranscripts } from '../sessions/compaction.ts'
import { MemoryWatch } from './memory-watch.ts'
import { Launcher } from './start-queue.ts'
import { Registry } from './registry.ts'
import { mayLeave } from './residency.ts'
import { Residents } from './residents.ts'
import { ServerWatch } from './server-watch.ts'
import { Spares, boundsOf } from './spares.ts'
import type { SpareKind } from './spares.ts'
import { Starter } from './starter.ts'
import type { Transcripts } from '../sessions/transcript-copies.ts'
import type { RunningTurn } from '../turns/turn.ts'
import type { Warmth } from '../worker/warmth.ts'

/** What a fleet is made of, resolved and checked. */
export interface FleetParts {
  clock: Clock
  driver: Driver
  limits: Limits
  admission: Admission
  residency: Residency
  starts: Starts & { concurrent: number }
  memory: MemorySource
  accounts: Accounts
  claudePath: string | undefined
  random: () => number
  places: (tenant: string) => Promise<TenantPlaces>
  /** The way to what tenants have made. */
  tenantFiles: TenantFiles
  environment: (places: TenantPlaces, agent: Agent) => Record<string, string>
}

export interface FleetContext extends FleetParts {
  emitter: PoolEmitter
  /** Throws ConfigError when there is none. */
  agentOf: (name: string) => Agent
  findAgent: (name: string) => Agent | undefined
  /** Called with each round of housekeeping. */
  tend: () => void
  /** The conversation that a worker serves, while this host works on it. */
  conversationOf: (worker: Worker) => Conversation | undefined
  transcripts: Transcripts
}

/** A worker goes within a second of its time: half of that, so that a late timer does not matter. */
const HOUSEKEEPING_MS = 500

/** All workers of a pool: what admits, starts, keeps and ends them. */
export class Fleet {
  readonly gate: Gate
  readonly launcher: Launcher
  readonly accounts: Accounts
  readonly #context: FleetContext
  readonly #registry = new Registry()
  readonly #residents: Residents<Worker>
  readonly #starter: Starter
  readonly #spares: Spares
  readonly #dispatch: Dispatch
  readonly #stopHousekeeping: CancelTimer
  readonly #governor: Governor
  readonly #memoryWatch: MemoryWatch
  readonly #health: Health
  readonly #servers: ServerWatch
  readonly #warmth = new WeakMap<Worker, Warmth>()
  /** What is fixed at start, hashed once for each agent: definitions never change in place. */
  readonly #agentHashes = new WeakMap<Agent, string>()

  constructor(context: FleetContext) {
    this.#context = context
    this.accounts = context.accounts
    const { clock, driver, emitter, limits, admission, residency, starts } = context
    const registry = this.#registry
    const governor = new Governor({
      now: () => clock.now(),
      source: context.memory,
      limitBytes: limits.memoryBytes,
      maxWorkers: limits.workers === 'auto' ? Infinity : limits.workers,
      occupants: () => registry,
      mayLeave: (worker) => mayLeave(worker as Worker, clock.now()),
    })
    this.#governor = governor
    this.gate = new Gate({
      turns: limits.turns === 'auto' ? Infinity : limits.turns,
      turnsPerTenant: limits.turnsPerTenant,
      admission,
      clock,
      memory: governor,
    })
    this.launcher = new Launcher(starts.concurrent)
    const { gate, launcher } = this
    this.#residents = new Residents(registry, clock)
    this.#residents.listen(emitter)
    const { places, agentOf, environment, random, claudePath, tenantFiles } = context
    const listeners = this.#listeners()
    this.#starter = new Starter({
      clock,
      driver,
      starts,
      residency,
      workerMemoryBytes: limits.workerMemoryBytes,
      listeners,
      places,
      tenantFiles,
      environment,
      random,
      claudePath,
      mirror: (tenant) => context.transcripts.mirror(tenant),
    })
    const starter = this.#starter
    this.#spares = new Spares({
      clock,
      registry,
      gate,
      launcher,
      starter,
      places,
      hasRoom: (agent) => governor.fitsSpare(agent),
      underPressure: () => governor.pressure !== 'none',
      register: (agent, make) => this.#dispatch.registerIfFree(agent, make),
      warn: (message, error) => emitter.tell('warning', { message, error }),
    })
    this.#dispatch = new Dispatch({
      clock,
      registry,
      gate,
      governor,
      launcher,
      starter,
      spares: this.#spares,
      residents: this.#residents,
      emitter,
      accounts: this.accounts,
      agentOf,
      fingerprintOf: (agent, tenant) => this.#fingerprint(agent, tenant),
      transcripts: context.transcripts,
      largeTranscripts: new LargeTranscripts({ ...context, gate, accounts: this.accounts }),
      places,
      started: (worker) => emitter.tell('worker.started', { worker: this.describe(worker) }),
      bound: (worker) => {
        emitter.tell('worker.bound', { worker: this.describe(worker) })
        this.#watchServers(worker)
      },
    })
    this.#servers = new ServerWatch({ clock, timeoutMs: starts.mcpTimeoutMs }, (worker, failure) =>
      emitter.tell('mcp.failed', { worker: this.describe(worker), ...failure }),
    )
    this.#health = new Health(clock)
    this.#stopHousekeeping = repeatedly(
      clock,
      () => HOUSEKEEPING_MS,
      () => this.#tend(),
    )
    this.#memoryWatch = new MemoryWatch({
      clock,
      governor,
      source: context.memory,
      registry,
      residents: this.#residents,
      gate,
      emitter,
      tendSpares: () => this.#spares.tend(),
    })
    emitter.on('turn.started', ({ worker: id, warmth }) => {
      for (const worker of registry) if (worker.id === id) this.#warmth.set(worker, warmth)
    })
  }

  run(conversation: Conversation, turn: RunningTurn): Promise<void> {
    return this.#dispatch.run(conversation, turn)
  }

  async warm(conversation: Conversation): Promise<void> {
    await this.#dispatch.warm(conversation)
  }

  /** Resolves when the transcript has all that the worker said. Otherwise throws StoreError, and the worker leaves. */
  confirm(worker: Worker): Promise<void> {
    return this.#dispatch.confirm(worker)
  }

  /** Keeps the minimum of this agent's spares for this tenant from now on. */
  keepSpares(agent: Agent, tenant: string): void {
    const kinds: SpareKind[] = ['spare', 'claimable']
    for (const kind of kinds) {
      const { min } = boundsOf(agent, kind)
      if (min > 0) this.#spares.keep({ agent, tenant, fingerprint: this.#fingerprint(agent, tenant), kind })
    }
    this.#spares.tend()
  }

  /** Resolves when each spare that is being started now can be used, or has failed to start. */
  sparesSettled(): Promise<void> {
    return this.#spares.settled()
  }

  /** Agents of these names have other definitions, or none: what is there follows them as far as it can, and else goes once it is idle. */
  redefine(names: Iterable<string>): void {
    for (const name of new Set(names)) {
      const agent = this.#context.findAgent(name)
      for (const worker of this.#registry) if (worker.agent === name) this.#follow(worker)
      this.#spares.follow(name, agent, (tenant) => agent && this.#fingerprint(agent, tenant))
      if (agent !== undefined) this.keepSpares(agent, 'default')
    }
    this.#tend()
  }

  /** The agent's definition of now holds for the worker, or makes it one that is to leave. */
  #follow(worker: Worker): void {
    const agent = this.#context.findAgent(worker.agent)
    worker.outdated = agent === undefined || this.#fingerprint(agent, worker.tenant) !== worker.fingerprint
    if (agent !== undefined) worker.follow(this.#starter.rulesOf(agent))
  }

  workers(): WorkerDetails[] {
    const workers = [...this.#registry]
    const trees = workers.length === 0 ? new Map<string, never>() : this.#context.driver.trees()
    return workers.map((worker) => ({ ...this.describe(worker), processes: trees.get(worker.id) ?? [] }))
  }

  memory(): MemoryStats {
    return this.#governor.stats()
  }

  byState(): Record<WorkerState, number> & { spares: number } {
    let spares = 0
    for (const { session, state } of this.#registry) if (session === undefined && state === 'idle') spares += 1
    return { ...this.#registry.byState(), spares }
  }

  /** The tenants, directories and conversations of all workers. */
  get inUse(): { tenant: string; cwd: string; sdkSessionId: string | undefined }[] {
    return [...this.#registry].map(({ tenant, cwd, sdkSessionId }) => ({ tenant, cwd, sdkSessionId }))
  }

  /** Ends all workers of a tenant, spares included. */
  async endTenant(tenant: string): Promise<void> {
    await Promise.all(
      [...this.#registry].filter((worker) => worker.tenant === tenant).map((worker) => worker.leave('deleted')),
    )
  }

  /** No more starts, no more housekeeping. */
  stop(): void {
    this.gate.suspend('draining')
    this.#spares.stop()
    this.#stopHousekeeping()
    this.#memoryWatch.stop()
  }

  /** Ends every worker, also those that are starting; resolves when none is left. */
  async endAll(): Promise<void> {
    while (this.#registry.size > 0) {
      await Promise.all([...this.#registry].map((worker) => worker.leave('closed')))
    }
  }

  describe(worker: Worker): WorkerInfo {
    const { clock } = this.#context
    const wallOf = (reading: number): number => Math.round(clock.wall() - (clock.now() - reading))
    const { pin } = worker
    return {
      id: worker.id,
      pid: worker.process.pid,
      agent: worker.agent,
      tenant: worker.tenant,
      session: worker.session?.key,
      sdkSessionId: worker.sdkSessionId,
      state: worker.state,
      purpose: worker.purpose,
      warmth: this.#warmth.get(worker),
      cwd: worker.cwd,
      startedAt: wallOf(worker.startedAt),
      lastUsedAt: wallOf(worker.lastUsedAt),
      turns: worker.turns,
      memoryBytes: worker.memoryBytes,
      pinnedBy:
        pin === undefined
          ? undefined
          : {
              tasks: pin.tasks,
              permissionRequests: pin.permissionRequests,
              transcript: pin.transcript,
              unprompted: pin.unprompted,
            },
    }
  }

  #fingerprint(agent: Agent, tenant: string): string {
    let hash = this.#agentHashes.get(agent)
    if (hash === undefined) {
      hash = fingerprintOf({ name: agent.name, options: agent.processOptions })
      this.#agentHashes.set(agent, hash)
    }
    return `${hash}:${tenant}`
  }

  #tend(): void {
    const full = this.#governor.full
    for (const worker of this.#registry) {
      // One whose input is closed serves nobody any more, whether or not it has noticed.
      if (worker.state === 'idle' && !worker.reserved && !worker.process.alive) void worker.leave('exited')
      this.#health.check(worker)
      if (worker.state === 'idle') void this.#context.transcripts.mend(worker)
      const reason = this.#residents.dueToLeave(worker, full)
      if (reason === undefined) continue
      // A spare that is too old stays until another is ready, so that its kind is never without.
      if (worker.session === undefined && !this.#spares.replaceable(worker)) continue
      worker.retire(reason)
    }
    this.#spares.tend()
    this.#context.tend()
  }

  #listeners(): WorkerListeners {
    const { emitter, clock } = this.#context
    return {
      changed: (worker, from) => {
        if (from === 'starting' && worker.state === 'idle') {
          // Definitions may have changed since its start was asked for.
          this.#follow(worker)
          emitter.tell('worker.ready', { worker: this.describe(worker), startMs: clock.now() - worker.startedAt })
          this.#watchServers(worker)
        }
        this.#governor.changed(worker, from)
        if (worker.state === 'idle') void this.#context.transcripts.mend(worker)
        if (worker.outdated && this.#residents.dueToLeave(worker, false) === 'fingerprint') worker.retire('fingerprint')
      },
      failed: (worker, what, error) =>
        this.#context.emitter.tell('warning', { message: `worker ${worker.id}: ${what}`, error }),
      said: (worker, message) => {
        this.accounts.hear(worker, message)
        this.#context.transcripts.hear(worker, message)
        if (worker.state !== 'busy') this.#tellFollowers(worker, message)
        // `/clear` begins another conversation in the same process; its id comes with the first message of it.
        if (message.type !== 'system' || message.subtype !== 'init') return
        this.#servers.settled(worker)
        if (worker.sdkSessionId === undefined || message.session_id === worker.sdkSessionId) return
        worker.sdkSessionId = message.session_id
        this.#context.conversationOf(worker)?.reset(message.session_id)
      },
      unprompted: (worker) => {
        const conversation = this.#context.conversationOf(worker)
        return conversation?.worker === worker ? conversation.unprompted : undefined
      },
      left: (worker, { reason, exit, report }) => {
        this.#registry.remove(worker)
        if (reason !== 'deleted') void this.#context.transcripts.mend(worker)
        const conversation = this.#context.conversationOf(worker)
        if (this.accounts.left(worker, { inOrder: exit.exitCode === 0 })) void conversation?.noteUsage()
        if (conversation?.worker === worker) conversation.workerGone()
        emitter.tell('worker.left', { worker: this.describe(worker), reason, exit, termination: report })
        if (worker.ownsCwd && worker.session === undefined) void this.#discardWorkspace(worker.cwd)
        this.gate.reconsider()
        this.#spares.tend()
      },
    }
  }

  #tellFollowers(worker: Worker, message: SDKMessage): void {
    for (const follower of this.#context.conversationOf(worker)?.followers ?? []) follower.said(message)
  }

  #watchServers(worker: Worker): void {
    const agent = this.#context.findAgent(worker.agent)
    if (agent !== undefined) void this.#servers.watch(worker, agent)
  }

  async #discardWorkspace(path: string): Promise<void> {
    try {
      await this.#starter.removeWorkspace(path)
    } catch (error) {
      this.#context.emitter.tell('warning', { message: `the workspace ${path} of a spare could not be removed`, error })
    }
  }
}
