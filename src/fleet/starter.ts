import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Confinement, Driver, Options, SessionStore, StartMode, StartSpec } from '../driver/driver.ts'
import { ConfigError, StartError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Starts } from '../options/starts.ts'
import type {
  Places,
  SessionOwnership,
  SessionRecord,
  SessionRef,
  TenantPlaces,
  TranscriptStores,
} from '../store/store.ts'
import { Backoffs } from '../worker/backoffs.ts'
import { Worker } from '../worker/worker.ts'
import type { WorkerFacts, WorkerListeners, WorkerOwner, WorkerRules } from '../worker/worker.ts'
import { formatDuration } from '../units.ts'
import type { Agent, PrepareTurn } from '../agents/agent.ts'
import { sdkOptions } from '../agents/process-options.ts'
import type { CallbackListeners } from '../agents/process-options.ts'
import { remotesOf } from '../agents/remotes.ts'
import type { Credentials } from './credentials.ts'
import { startedWith, wayOut } from './remotes.ts'
import { checkCwd } from './working-directory.ts'
import type { WorkerPurpose } from '../worker/warmth.ts'
import { shareOfMaxAge } from './resident.ts'

/** What processes are started with, beside what their agent says. */
export interface ProcessHost {
  driver: Driver
  places: Places
  tenantFiles: TenantFiles
  environment: (places: TenantPlaces, agent: Agent, tenant: string) => Record<string, string>
  /** Keeps the model's credential out of processes; undefined: it stays in their environment. */
  credentials?: Credentials | undefined
  /** The `claude` to run; undefined lets the SDK look for it. */
  claudePath: string | undefined
  /** Which processes run in sandboxes, and where they may go. Default: none does. */
  confinements?: Confines | undefined
  transcripts: TranscriptStores
}

/** Says how processes are confined. */
export interface Confines {
  isSandboxed(agent: Agent): boolean
  /** What its processes may use; undefined: as much as the host. */
  limitsOf(agent: Agent): StartSpec['limits']
  /** Lists of `host:port`, each of which must name a place; none: everything is allowed. */
  listsOf(agent: Agent, tenant: string): readonly (readonly string[])[]
}

export interface StarterContext {
  clock: Clock
  host: ProcessHost
  starts: Starts
  /** Of agents that say nothing else. */
  rules: WorkerRules
  /** Hears of every worker. */
  listeners: WorkerListeners
}

export interface WorkerRequest {
  agent: Agent
  tenant: string
  fingerprint: string
  purpose: WorkerPurpose
  owner: WorkerOwner | undefined
  cwd: string
  /** True when the pool made `cwd`. */
  ownsCwd: boolean
  conversation: StartMode
  places: TenantPlaces
}

/** Makes workers: an agent's options, a tenant's places and a conversation become one process. */
export class Starter {
  readonly #context: StarterContext
  readonly #backoffs = new Backoffs()

  constructor(context: StarterContext) {
    this.#context = context
  }

  /** True if a process can start before its directory is known: a sandbox is made for one. */
  startsUnbound(agent: Agent): boolean {
    return this.#context.host.confinements?.isSandboxed(agent) !== true
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
    await this.#context.host.tenantFiles.makeFolder(path)
    return path
  }

  /** Throws FilesError for what could not be removed. */
  async removeWorkspace(path: string): Promise<void> {
    await this.#context.host.tenantFiles.erase(path)
  }

  /**
   * Makes sure that a process can work in a directory. A workspace of the pool is made again if it is gone, and opened again if its
   * agent has closed it. True if it was made again. Throws StartError, FilesError if something else is in the workspace's place.
   */
  async prepareCwd({
    cwd,
    ownsCwd,
    owner,
  }: {
    cwd: string
    ownsCwd: boolean
    owner?: number | undefined
  }): Promise<boolean> {
    if (ownsCwd) return this.#context.host.tenantFiles.restoreFolder(cwd)
    await checkCwd(cwd, owner)
    return false
  }

  /** What the agent's definition, and where it says nothing the pool, says of a process that is there. */
  rulesOf({ residency, workerMemoryBytes }: Agent): WorkerRules {
    return {
      residency: residency ?? this.#context.rules.residency,
      memoryLimitBytes: workerMemoryBytes ?? this.#context.rules.memoryLimitBytes,
    }
  }

  /** Starts a process at once; `open()` of the worker waits for it. */
  start(request: WorkerRequest): Worker {
    const { agent, tenant, owner, cwd, conversation, places } = request
    const { clock, host, starts, listeners } = this.#context
    const id = `w-${randomUUID().slice(0, 8)}`
    // The callbacks are made before the worker that they speak for.
    const made: { worker?: Worker } = {}
    const preparations: PrepareTurn[] = []
    const environment = (): Record<string, string> => host.environment(places, agent, tenant)
    const executable = agent.options.pathToClaudeCodeExecutable
    const options = this.#optionsOf(request, made, preparations)
    const servers = remotesOf(options.mcpServers)
    const remotes = [...agent.remotes, ...servers.values()]
    const lists = host.confinements?.isSandboxed(agent) === true ? host.confinements.listsOf(agent, tenant) : undefined
    const granted = host.credentials?.grant(
      {
        id,
        agent: agent.name,
        tenant,
        session: owner?.ref.key,
        executable,
        egress: wayOut(lists, remotes),
        remotes,
        user: places.owner,
      },
      environment,
    )
    const confinement = confinementOf(places, lists, granted?.egressSocket)
    const process = host.driver.start({
      workerId: id,
      cwd,
      tmpDir: places.tmpDir,
      ...startedWith({ agent, options, servers, env: granted?.env ?? environment(), granted }),
      conversation,
      ...(confinement === undefined ? {} : { confinement }),
      limits: host.confinements?.limitsOf(agent),
      initializeTimeoutMs: starts.timeoutMs,
    })
    made.worker = new Worker(factsOf(id, request), process, {
      clock,
      graces: { eofMs: starts.eofGraceMs, sigtermMs: starts.sigtermGraceMs },
      rules: this.rulesOf(agent),
      shareOfMaxAge: shareOfMaxAge(Math.random),
      listeners,
      preparations,
    })
    return made.worker
  }

  /** What the SDK starts the process with. Its callbacks reach the worker that comes to be of it. */
  #optionsOf({ agent, tenant }: WorkerRequest, made: { worker?: Worker }, preparations: PrepareTurn[]): Options {
    const { claudePath, transcripts } = this.#context.host
    const context = {
      get session(): SessionRef | undefined {
        return made.worker?.session
      },
    }
    // What comes after its session was given back is any host's, and no reason to claim the session again.
    const ownership = (): SessionOwnership | undefined => {
      const found = made.worker?.owner?.ownership
      return found?.isReleased === true ? undefined : found
    }
    const callbacks: CallbackListeners = {
      permissionRequest: (change, of) => made.worker?.recordPermissionRequest(change, of),
      called: (toolUseId) => made.worker?.called(toolUseId),
      asked: (question) => made.worker?.permissionAsked(question),
      answered: (question, answer) => made.worker?.permissionAnswered(question, answer),
      beforeTurn: (prepare) => void preparations.push((turn) => prepared(prepare, turn)),
    }
    return {
      ...sdkOptions(agent, context, callbacks, claudePath),
      ...(transcripts.copied ? { sessionStore: mirrorOf(transcripts.of(tenant, ownership)) } : {}),
    }
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
      if (failed && worker.closeReason === 'start_failed') {
        this.#backoffs.failed(fingerprint, sdkSessionId, error, this.#context.clock.now())
      }
      throw error
    }
  }
}

function confinementOf(
  { owner }: TenantPlaces,
  lists: readonly (readonly string[])[] | undefined,
  socket: string | undefined,
): Confinement | undefined {
  if (lists !== undefined) return { network: networkOf(lists, socket) }
  return owner === undefined ? undefined : { network: 'open', owner }
}

/** Without a socket nothing but the model is left. */
function networkOf(lists: readonly (readonly string[])[], socket: string | undefined): Confinement['network'] {
  if (lists.length === 0) return 'open'
  return socket === undefined ? 'model' : { socket, allow: lists }
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

/** What a process copies to. It gets nothing from there: its own files come first, and are made to be there. */
const mirrorOf = (store: SessionStore): SessionStore => ({
  append: (key, entries) => store.append(key, entries),
  load: async () => null,
})

function factsOf(id: string, request: WorkerRequest): WorkerFacts {
  const { agent, tenant, fingerprint, purpose, owner, cwd, ownsCwd, conversation } = request
  return {
    id,
    agent: agent.name,
    tenant,
    fingerprint,
    purpose,
    owner,
    cwd: { path: cwd, isOwn: ownsCwd },
    conversation,
  }
}
