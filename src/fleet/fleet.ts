import { Gate } from '../admission/gate.ts'
import type { Agent } from '../agents/agent.ts'
import type { Agents } from '../agents/catalogue.ts'
import type { Clock } from '../clock.ts'
import type { PoolEmitter, WorkerDetails } from '../events.ts'
import { Governor } from '../memory/governor.ts'
import type { MemoryStats } from '../memory/governor.ts'
import type { MemorySource } from '../memory/source.ts'
import type { Admission } from '../options/admission.ts'
import type { Limits } from '../options/limits.ts'
import type { Residency } from '../options/residency.ts'
import type { Starts } from '../options/starts.ts'
import { Health } from '../worker/health.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { ClosedWorker, Worker, WorkerListeners } from '../worker/worker.ts'
import { followWorkers } from './credentials.ts'
import { MemoryWatch } from './memory-watch.ts'
import { Placement } from './placement.ts'
import { Registry } from './registry.ts'
import { closeWorker } from './close-worker.ts'
import type { WorkerClosing } from './close-worker.ts'
import { Residents } from './residents.ts'
import { ServerWatch } from './server-watch.ts'
import { Spares, boundsOf } from './spares.ts'
import type { SpareKind } from './spares.ts'
import { StartQueue } from './start-queue.ts'
import { Starter } from './starter.ts'
import type { ProcessHost } from './starter.ts'
import { workerInfo } from './worker-info.ts'
import { mayLeave } from './resident.ts'

/** What the pool's options say of its processes. */
export interface FleetSettings {
  limits: Limits
  admission: Admission
  residency: Residency
  starts: Starts & { concurrent: number }
}

export interface FleetContext {
  clock: Clock
  emitter: PoolEmitter
  agents: Agents
  settings: FleetSettings
  memory: MemorySource
  host: ProcessHost
  /** False while the other hosts may hold this one for gone: nothing is started then. */
  mayStart: () => boolean
}

/** All workers of a pool: what admits, starts, keeps and ends them. */
export class Fleet implements WorkerListeners {
  readonly gate: Gate
  readonly launcher: StartQueue
  readonly placement: Placement
  readonly residents: Residents<Worker>
  readonly starter: Starter
  readonly spares: Spares
  readonly #context: FleetContext
  readonly #registry = new Registry()
  readonly #governor: Governor
  readonly #memoryWatch: MemoryWatch
  readonly #health: Health
  readonly #servers: ServerWatch

  constructor(context: FleetContext) {
    this.#context = context
    const { clock, emitter, agents, settings, memory, host, mayStart } = context
    const { limits, starts } = settings
    const registry = this.#registry
    const governor = governorOf(limits, memory, registry, clock)
    const gate = gateOf(settings, governor, clock)
    const launcher = new StartQueue(starts.concurrent)
    const residents = new Residents(registry, clock)
    const placement = new Placement({ clock, registry, governor, gate, residents, emitter })
    const rules = { residency: settings.residency, memoryLimitBytes: limits.workerMemoryBytes }
    const starter = new Starter({ clock, host, starts, rules, listeners: registry })
    const { places } = host
    const spares = new Spares({ clock, registry, gate, launcher, starter, placement, places, emitter, mayStart })
    this.gate = gate
    this.launcher = launcher
    this.placement = placement
    this.residents = residents
    this.starter = starter
    this.spares = spares
    this.#governor = governor
    this.#health = new Health(clock)
    this.#servers = new ServerWatch({ clock, timeoutMs: starts.mcpTimeoutMs }, (worker, failure) =>
      emitter.tell('mcp.failed', { worker: workerInfo(worker, clock), ...failure }),
    )
    this.#memoryWatch = new MemoryWatch({
      clock,
      governor,
      source: memory,
      registry,
      residents,
      gate,
      emitter,
      spares,
    })
    registry.listen(this)
    if (host.credentials !== undefined) followWorkers(emitter, host.credentials)
    agents.onChange((names) => this.#redefine(names))
  }

  /** Keeps the minimum of this agent's spares for this tenant from now on. */
  keepSpares(agent: Agent, tenant: string): void {
    const kinds: SpareKind[] = ['spare', 'unbound']
    const fingerprint = this.#context.agents.fingerprintOf(agent, tenant)
    for (const kind of kinds) {
      if (boundsOf(agent, kind).min > 0) this.spares.keep({ agent, tenant, fingerprint, kind })
    }
    this.spares.tend()
  }

  /** Agents of these names have other definitions, or none: what is there follows them as far as it can, and else goes once it is idle. */
  #redefine(names: Iterable<string>): void {
    const { agents } = this.#context
    for (const name of new Set(names)) {
      const agent = agents.find(name)
      for (const worker of this.#registry) if (worker.agent === name) this.#follow(worker)
      this.spares.follow(name, agent, (tenant) => agent && agents.fingerprintOf(agent, tenant))
      if (agent !== undefined) this.keepSpares(agent, 'default')
    }
    this.tend()
  }

  /** The agent's definition of now holds for the worker, or makes it one that is to leave. */
  #follow(worker: Worker): void {
    const { agents } = this.#context
    const agent = agents.find(worker.agent)
    worker.supersede(agent === undefined || agents.fingerprintOf(agent, worker.tenant) !== worker.fingerprint)
    if (agent !== undefined) worker.follow(this.starter.rulesOf(agent))
  }

  /** Closes a worker that an operator names. Throws ConfigError, SessionBusyError. */
  closeWorker(id: string, { now }: { now: boolean }): Promise<WorkerClosing> {
    return closeWorker(this.#registry, id, now)
  }

  /** Every worker with its processes. Reads the process table once. */
  workers(): WorkerDetails[] {
    const { host, clock } = this.#context
    const workers = [...this.#registry]
    const trees = workers.length === 0 ? new Map<string, never>() : host.driver.trees()
    return workers.map((worker) => ({ ...workerInfo(worker, clock), processes: trees.get(worker.id) ?? [] }))
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
      [...this.#registry].filter((worker) => worker.tenant === tenant).map((worker) => worker.close('deleted')),
    )
  }

  /** No more starts. */
  stop(): void {
    this.gate.suspend('draining')
    this.spares.stop()
    this.#memoryWatch.stop()
  }

  /** Closes every worker, also starting ones; resolves when none is left. */
  async endAll(): Promise<void> {
    while (this.#registry.size > 0) {
      await Promise.all([...this.#registry].map((worker) => worker.close('closed')))
    }
  }

  /** A spare has become a session's. */
  bound(worker: Worker): void {
    const { emitter, clock } = this.#context
    emitter.tell('worker.bound', { worker: workerInfo(worker, clock) })
    this.#watchServers(worker)
  }

  /** One round of housekeeping: retires workers, and starts missing spares. */
  tend(): void {
    const full = this.#governor.full
    for (const worker of this.#registry) this.#look(worker, full)
    this.residents.freezeOne({ forRoom: full })
    this.spares.tend()
  }

  #look(worker: Worker, full: boolean): void {
    // A process whose input is closed serves no turn any more, even before it notices.
    const isResting = worker.state === 'idle' || worker.state === 'frozen'
    if (isResting && !worker.reserved && !worker.process.alive) void worker.close('exited')
    this.#health.check(worker)
    if (worker.state === 'idle') worker.owner?.idle(worker)
    const reason = this.residents.retirementReason(worker, full)
    if (reason === undefined) return
    // A spare that is too old stays until another is ready, so that its kind is never without.
    if (worker.owner === undefined && !this.spares.replaceable(worker)) return
    worker.retire(reason)
  }

  changed(worker: Worker, from: WorkerState): void {
    if (from === 'starting' && worker.state === 'idle') this.#ready(worker)
    this.#governor.changed(worker, from)
    if (worker.state === 'idle') worker.owner?.idle(worker)
    if (worker.outdated && this.residents.retirementReason(worker, false) === 'fingerprint')
      worker.retire('fingerprint')
  }

  #ready(worker: Worker): void {
    const { emitter, clock } = this.#context
    // Definitions may have changed since its start was asked for.
    this.#follow(worker)
    const startMs = clock.now() - worker.startedAt
    this.residents.workerReady(worker.agent, startMs)
    emitter.tell('worker.ready', { worker: workerInfo(worker, clock), startMs })
    this.#watchServers(worker)
  }

  initialized(worker: Worker): void {
    this.#servers.settled(worker)
  }

  failed(worker: Worker, what: string, error: unknown): void {
    this.#context.emitter.tell('warning', { message: `worker ${worker.id}: ${what}`, error })
  }

  closed(worker: Worker, facts: ClosedWorker): void {
    const { emitter, clock } = this.#context
    const { reason, exit, report: termination } = facts
    worker.owner?.closed(worker, facts)
    emitter.tell('worker.closed', { worker: workerInfo(worker, clock), reason, exit, termination })
    if (worker.ownsCwd && worker.owner === undefined) void this.#discardWorkspace(worker.cwd)
    this.gate.reconsider()
    this.spares.tend()
  }

  #watchServers(worker: Worker): void {
    const agent = this.#context.agents.find(worker.agent)
    if (agent !== undefined) void this.#servers.watch(worker, agent)
  }

  async #discardWorkspace(path: string): Promise<void> {
    try {
      await this.starter.removeWorkspace(path)
    } catch (error) {
      this.#context.emitter.tell('warning', { message: `the workspace ${path} of a spare could not be removed`, error })
    }
  }
}

const governorOf = (limits: Limits, source: MemorySource, registry: Registry, clock: Clock): Governor =>
  new Governor({
    now: () => clock.now(),
    source,
    limitBytes: limits.memoryBytes,
    maxWorkers: limits.workers === 'auto' ? Infinity : limits.workers,
    occupants: () => registry,
    mayLeave: (worker) => mayLeave(worker as Worker, clock.now()),
  })

const gateOf = ({ limits, admission }: FleetSettings, memory: Governor, clock: Clock): Gate =>
  new Gate({
    turns: limits.turns === 'auto' ? Infinity : limits.turns,
    turnsPerTenant: limits.turnsPerTenant,
    admission,
    clock,
    memory,
  })
