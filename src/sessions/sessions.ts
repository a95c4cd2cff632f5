import type { Agents } from '../agents/catalogue.ts'
import type { Worker } from '../worker/worker.ts'
import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import type { PoolEmitter } from '../events.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { TurnLimits } from '../options/limits.ts'
import { wholeNumber } from '../options/section.ts'
import { checkOptions } from '../options/unknown.ts'
import type { HostMember, PoolFiles, SessionInfo, SessionPage, Store } from '../store/store.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import type { ActiveSession } from './active-session.ts'
import { ActiveSessions } from './active-sessions.ts'
import { Checkout } from './checkout.ts'
import { Compaction } from './compaction.ts'
import { Forks } from './fork.ts'
import { TurnRunner } from './run-turn.ts'
import { SessionFiles } from './session-files.ts'
import { Returns } from './ownership.ts'
import type { SessionPeers } from './peers.ts'
import { infoOf } from './session-info.ts'
import { checkConflict, checkName, existingDirectory, newRecord, sessionGone } from './session-record.ts'
import type { SessionIdentity } from './session-record.ts'
import type { SessionDesk } from './session.ts'
import { Session } from './session.ts'
import { StoredSessions } from './stored-sessions.ts'
import type { TranscriptCopies } from './transcript-copies.ts'

/** How a session is found or created. */
export interface SessionOptions {
  /** Required to create a session; optional for an existing one. */
  agent?: string
  /** The tenant of the session. Default `"default"`. */
  tenant?: string
  /** Where its processes run; must exist. Default: the agent's `cwd`, else a workspace that the pool makes and removes with the session. */
  cwd?: string
}

const SESSION_OPTIONS: Record<keyof SessionOptions, true> = { agent: true, tenant: true, cwd: true }

const PAGE_OPTIONS: Record<keyof SessionPage, true> = {
  tenant: true,
  agent: true,
  order: true,
  descending: true,
  after: true,
  limit: true,
}

/** What the sessions of a pool are made of. */
export interface SessionsContext {
  store: Store
  /** This host. */
  member: HostMember
  driver: Driver
  fleet: Fleet
  ledger: UsageLedger
  settings: SessionSettings
  transcripts: TranscriptCopies
  /** `peers`: the other hosts. Undefined: they are not asked. */
  services: { clock: Clock; emitter: PoolEmitter; agents: Agents; peers: SessionPeers | undefined }
  host: { files: PoolFiles; tenantFiles: TenantFiles }
}

/** What the pool's options say of its sessions. */
export interface SessionSettings {
  limits: TurnLimits & { resumeSizeBytes: number }
  keepsEvents: boolean
}

/** Finds sessions, and begins them. */
export class Sessions implements SessionDesk {
  readonly agents: Agents
  readonly active: ActiveSessions
  readonly stored: StoredSessions
  readonly turns: TurnRunner
  readonly checkout: Checkout
  readonly files: SessionFiles
  readonly forks: Forks
  readonly peers: SessionPeers | undefined
  /** Claims that could not be given back yet. */
  readonly returns: Returns
  readonly #clock: Clock
  readonly #store: Store

  constructor(context: SessionsContext) {
    const { store, member, driver, fleet, ledger, settings, transcripts, services, host } = context
    const { clock, emitter, agents, peers } = services
    const { limits, keepsEvents } = settings
    const places = host.files
    const files = new SessionFiles({ driver, transcripts, places, tenantFiles: host.tenantFiles, emitter })
    // With other hosts there, who sent a prompt may be there still when the host has died that took it.
    const resume =
      store.hosts &&
      ((session: ActiveSession, prompts: readonly NumberedEvent[]) => this.turns.resume(session, prompts))
    const returns = new Returns(store)
    const shared = { store, member, clock, emitter, agents, transcripts, files, ledger, returns, peers, resume }
    const active = new ActiveSessions(shared, { keepsEvents })
    const compaction = new Compaction({ clock, driver, emitter, gate: fleet.gate, ledger, agents, places, limits })
    const checkout = new Checkout({ fleet, agents, emitter, transcripts, compaction, ledger, places })
    const { turnTimeoutMs, inactivityTimeoutMs } = limits
    const limitsOf = (agent: string): TurnLimits => ({ turnTimeoutMs, inactivityTimeoutMs, ...agents.of(agent).limits })
    const running = { clock, emitter, fleet, active, checkout, transcripts, ledger, peers, limitsOf }
    this.turns = new TurnRunner(running)
    this.forks = new Forks({ clock, emitter, active, files })
    this.stored = new StoredSessions({ active, store, emitter, files, fleet })
    this.agents = agents
    this.active = active
    this.peers = peers
    this.returns = returns
    this.checkout = checkout
    this.files = files
    this.#clock = clock
    this.#store = store
  }

  /** Finds the session of this key, or begins it. */
  async open(key: string, options: SessionOptions): Promise<Session> {
    this.active.checkOpen()
    checkOptions('session()', options, SESSION_OPTIONS)
    const tenant = options.tenant ?? 'default'
    checkName('key', key)
    checkName('tenant', tenant)
    if (this.stored.isClosed(tenant)) throw sessionGone(key, 'session_deleted')
    const agent = options.agent === undefined ? undefined : this.agents.of(options.agent)
    const cwd = options.cwd === undefined ? undefined : await existingDirectory(options.cwd)
    const session = await this.active.load({ tenant, key }, () => {
      if (agent === undefined) throw sessionGone(key, 'session_not_found')
      return this.active.begin(newRecord({ tenant, key, agent: agent.name, cwd }, calendarOf(this.#clock).latest))
    })
    if (session === undefined) throw sessionGone(key, 'session_not_found')
    this.active.forgetIfQuiet(session)
    checkConflict(session.record, agent?.name, cwd)
    return this.handle(session.record)
  }

  handle(identity: SessionIdentity): Session {
    return new Session(identity, this)
  }

  async list(page: Partial<SessionPage>): Promise<SessionInfo[]> {
    this.active.checkOpen()
    checkOptions('sessions()', page, PAGE_OPTIONS)
    const limit = wholeNumber('limit', page.limit ?? 100, 1)
    const records = await this.#store.list({ ...page, limit })
    return records.map((record) => this.active.get(record)?.info ?? infoOf(record, 'hibernated'))
  }

  /** The process of a session, started if there is none. */
  async workerOf(found: ActiveSession): Promise<Worker> {
    using held = this.active.hold(found)
    const { conversation } = held
    // One that runs a turn is there, and must not be waited for.
    while (conversation.worker?.state !== 'busy') {
      await this.checkout.warm(conversation)
      if (conversation.worker?.state === 'idle') break
    }
    return conversation.worker
  }

  /** The keys of a tenant's sessions that run a turn now. */
  runningKeys(tenant: string): string[] {
    return [...this.active].flatMap(({ record, running }) =>
      record.tenant === tenant && running !== undefined ? [record.key] : [],
    )
  }

  /** Ends all turns with this error; resolves when each has given back what it held. */
  async close(error: Error): Promise<void> {
    this.active.close()
    const ended = [...this.active]
    for (const session of ended) session.end(error)
    await this.turns.settled()
    // A follower is told how its turn ended before it is told that this is the end.
    for (const { journal } of ended) {
      await journal?.written()
      journal?.end(error)
    }
  }
}
