import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Conversation as ConversationSpec, Driver, Options } from '../driver/driver.ts'
import { ConfigError, StartError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Residency } from '../options/residency.ts'
import type { Starts } from '../options/starts.ts'
import type { SessionRecord, TenantPlaces, SessionRef } from '../store/store.ts'
import { Backoffs } from '../worker/backoffs.ts'
import { Worker } from '../worker/worker.ts'
import type { WorkerListeners, WorkerRules } from '../worker/worker.ts'
import { formatDuration } from '../units.ts'
import type { Agent, PrepareTurn } from '../agents/agent.ts'
import { shareOfMaxAge } from './residency.ts'
import { sdkOptions } from '../agents/process-options.ts'
import type { CallbackListeners } from '../agents/process-options.ts'
import { checkCwd } from './working-directory.ts'
import type { WorkerPurpose } from '../worker/warmth.ts'

export interface StarterContext {
  clock: Clock
  driver: Driver
  starts: Starts
  residency: Residency
  /** Of agents that have no limit of their own. */
  workerMemoryBytes: number
  listeners: WorkerListeners
  places: (tenant: string) => Promise<TenantPlaces>
  tenantFiles: TenantFiles
  environment: (places: TenantPlaces, agent: Agent) => Record<string, string>
  random: () => number
  /** The `claude` to run; undefined lets the SDK look for it. */
  claudePath: string | undefined
  /** What makes the processes of a tenant copy their transcripts. */
  mirror: (tenant: string) => Partial<Options>
}

export interface WorkerRequest {
  agent: Agent
  tenant: string
  fingerprint: string
  purpose: WorkerPurpose
  session: SessionRef | undefined
  cwd: string
  /** True when the pool made `cwd`. */
  ownsCwd: boolean
  conversation: ConversationSpec
  places: TenantPlaces
}

/** Makes workers: an agent's options, a tenant's places and a conversation become one process. */
export class Starter {
  readonly #context: StarterContext
  readonly #backoffs = new Backoffs()

  constructor(context: StarterContext) {
    this.#context = context
  }

  /** True when the last start of this kind failed. */
  failing(fingerprint: string): boolean {
    return this.#backoffs.failing(fingerprint)
  }

  /** True while starts of this kind are held back after repeated failures. */
  heldBack(fingerprint: string, now: number): boolean {
    return this.#backoffs.held(fingerprint, undefined, now) !== undefined
  }

  /** Throws StartError while starts of this kind, or of this conversation, are held back. */
  checkBackoff(agent: Agent, fingerprint: string, session?: Pick<SessionRecord, 'key' | 'sdkSessionId'>): void {
    const held = this.#backoffs.held(fingerprint, session?.sdkSessionId, this.#context.clock.now())
    if (held === undefined) return
    const whose = held.of === 'kind' ? `processes of agent "${agent.name}"` : `processes of session "${session?.key}"`
    throw new StartError(
      'backoff',
      `${whose} keep failing to start; the next try is in ${formatDuration(held.remainingMs)}. ` +
        `The last failure: ${held.error.message}`,
      undefined,
      { cause: held.error },
    )
  }

  /** Makes a fresh workspace of the tenant, named after the conversation. */
  async makeWorkspace(places: TenantPlaces, sessionId: string): Promise<string> {
    const path = join(places.workspaces, sessionId)
    await this.#context.tenantFiles.makeFolder(path)
    return path
  }

  /** Throws FilesError for what could not be removed. */
  async removeWorkspace(path: string): Promise<void> {
    await this.#context.tenantFiles.erase(path)
  }

  /**
   * Makes sure that a process can work in a directory. A workspace of the pool is made again if it is gone, and opened again if its
   * agent has closed it. True if it was made again. Throws StartError, FilesError if something else is in the workspace's place.
   */
  async prepareCwd({ cwd, ownsCwd }: { cwd: string; ownsCwd: boolean }): Promise<boolean> {
    if (ownsCwd) return this.#context.tenantFiles.restoreFolder(cwd)
    await checkCwd(cwd)
    return false
  }

  /** What the agent's definition, and where it says nothing the pool, says of a process that is there. */
  rulesOf({ residency, workerMemoryBytes }: Agent): WorkerRules {
    return {
      residency: residency ?? this.#context.residency,
      memoryLimitBytes: workerMemoryBytes ?? this.#context.workerMemoryBytes,
    }
  }

  /** Starts a process at once; `open()` of the worker waits for it. */
  start(request: WorkerRequest): Worker {
    const { agent, tenant, fingerprint, purpose, session, cwd, ownsCwd, conversation, places } = request
    const { clock, driver, starts, listeners } = this.#context
    const id = `w-${randomUUID().slice(0, 8)}`
    // The callbacks are made before the worker that they speak for.
    const made: { worker?: Worker } = {}
    const preparations: PrepareTurn[] = []
    const context = {
      get session(): SessionRef | undefined {
        return made.worker?.session
      },
    }
    const callbacks: CallbackListeners = {
      permissionRequest: (change) => made.worker?.notePermissionRequest(change),
      called: (toolUseId) => made.worker?.called(toolUseId),
      asked: (question) => made.worker?.permissionAsked(question),
      answered: (question, answer) => made.worker?.permissionAnswered(question, answer),
      beforeTurn: (prepare) => void preparations.push((turn) => prepared(prepare, turn)),
    }
    const process = driver.start({
      workerId: id,
      options: {
        ...sdkOptions(agent, context, callbacks, this.#context.claudePath),
        ...this.#context.mirror(tenant),
      },
      cwd,
      tmpDir: places.tmpDir,
      env: this.#context.environment(places, agent),
      conversation,
      initializeTimeoutMs: starts.timeoutMs,
    })
    const worker = new Worker(
      {
        id,
        agent: agent.name,
        tenant,
        fingerprint,
        purpose,
        cwd,
        ownsCwd,
        session,
        sdkSessionId: conversation.kind === 'parked' ? undefined : conversation.sessionId,
        resumed: conversation.kind === 'resume' || conversation.kind === 'fork',
      },
      process,
      {
        clock,
        graces: { eofMs: starts.eofGraceMs, sigtermMs: starts.sigtermGraceMs },
        rules: this.rulesOf(agent),
        shareOfMaxAge: shareOfMaxAge(() => this.#context.random()),
        listeners,
        preparations,
      },
    )
    made.worker = worker
    return worker
  }

  /** Waits until the worker is ready, and remembers whether it became so. */
  async open(worker: Worker): Promise<void> {
    const { fingerprint, sdkSessionId } = worker
    try {
      await worker.open()
      this.#backoffs.succeeded(fingerprint, sdkSessionId)
    } catch (error) {
      // One that was told to go while it started has not failed.
      const failed = error instanceof StartError || error instanceof ConfigError
      if (failed && worker.departure === 'start_failed') {
        this.#backoffs.failed(fingerprint, sdkSessionId, error, this.#context.clock.now())
      }
      throw error
    }
  }
}

/** What an agent's own code throws is told as an error of its options. */
async function prepared(prepare: PrepareTurn, turn: { id: string }): Promise<void> {
  try {
    await prepare(turn)
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError('beforeTurn', `failed for turn ${turn.id}: ${problem}`, { cause })
  }
}
