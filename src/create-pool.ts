import { availableParallelism } from 'node:os'
import { calendarOf } from './calendar.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { toldAddress } from './cluster/address.ts'
import { Membership, onlyHost } from './cluster/membership.ts'
import { openPeerPort } from './cluster/open-port.ts'
import { ControlSocket } from './control/server.ts'
import { CredentialProxy } from './credentials/credential-proxy.ts'
import { checkBudgets } from './credentials/placement.ts'
import { RefreshedApi } from './credentials/refreshed-api.ts'
import { ClaudeDriver } from './driver/claude.ts'
import { openCgroups } from './driver/worker-cgroups.ts'
import { claudeVersion, findClaudeExecutable } from './driver/executable.ts'
import type { Driver } from './driver/driver.ts'
import { agentEnvironment, hostEnvironment, telemetryEnvironment } from './driver/environment.ts'
import { ConfigError, storeError } from './errors.ts'
import type { MemorySource } from './memory/source.ts'
import { SystemMemory } from './memory/system.ts'
import { readAdmission } from './options/admission.ts'
import type { AdmissionOptions } from './options/admission.ts'
import { apiOf, readApi } from './options/api.ts'
import type { ApiOptions } from './options/api.ts'
import { hasBudget, readBudgets } from './options/budgets.ts'
import type { Budgets, BudgetsOptions } from './options/budgets.ts'
import { Confinements } from './isolation/confinement.ts'
import { openBoundary } from './isolation/isolation.ts'
import type { Boundary } from './isolation/isolation.ts'
import { writtenEgress } from './options/egress.ts'
import { readCluster } from './options/cluster.ts'
import type { Cluster, ClusterOptions } from './options/cluster.ts'
import { readIsolation } from './options/isolation.ts'
import type { Isolation, IsolationOptions } from './options/isolation.ts'
import { limitsOf, readLimits } from './options/limits.ts'
import type { LimitOptions } from './options/limits.ts'
import { readResidency } from './options/residency.ts'
import type { ResidencyOptions } from './options/residency.ts'
import { readRetention } from './options/retention.ts'
import type { RetentionOptions } from './options/retention.ts'
import type { SpareOptions } from './options/spares.ts'
import { readStarts } from './options/starts.ts'
import type { Starts, StartOptions } from './options/starts.ts'
import { isStore, readPostgres } from './options/store.ts'
import type { PostgresAddress, PostgresOptions } from './options/store.ts'
import { readTelemetry } from './options/telemetry.ts'
import type { Telemetry, TelemetryOptions } from './options/telemetry.ts'
import { unknownOption } from './options/unknown.ts'
import { notOneOf } from './options/wording.ts'
import type { AgentOptions } from './agents/agent.ts'
import { Agents } from './agents/catalogue.ts'
import { checkLeanCredential } from './agents/lean.ts'
import { UsageLedger } from './usage/usage-ledger.ts'
import { Pool } from './pool/pool.ts'
import type { IsolationStats, PoolHost, PoolSettings } from './pool/pool.ts'
import { machineMemory } from './process/machine-memory.ts'
import { RunFiles } from './process/run-files.ts'
import { ProcessTable } from './process/table.ts'
import { treesInSteps } from './process/tree.ts'
import { DataDir } from './store/data-dir.ts'
import { moveTranscripts, sessionStore } from './store/session-store.ts'
import { openStore } from './store/open-store.ts'
import type { Store } from './store/store.ts'
import { packageVersion } from './package-version.ts'
import { logPool } from './telemetry/log.ts'
import type { Logger } from './telemetry/log.ts'
import { traceTurns } from './telemetry/tracing.ts'
import { Unwinding } from './unwinding.ts'
import { adoptOpenTurns } from './sessions/open-turns.ts'

/** What `createPool()` takes. Only `agents` is needed. */
export interface PoolOptions {
  /** The agents that sessions may use, by name. */
  agents: Readonly<Record<string, AgentOptions>>
  /** Where sessions, transcripts and workspaces are kept; one host at a time. Default `./.claude-agent-pool`. */
  dataDir?: string
  /** How the model is reached. Default: as the host's environment says. */
  api?: ApiOptions
  /** What separates agents from the host. */
  isolation?: IsolationOptions
  /** What sessions, agents and tenants may spend on the model. Default: no budget. */
  budgets?: BudgetsOptions
  limits?: LimitOptions
  admission?: AdmissionOptions
  residency?: ResidencyOptions
  starts?: StartOptions
  /** Whether the pool stores the events of sessions, for `session.events()`. Default `true`. */
  events?: boolean
  retention?: RetentionOptions
  /**
   * The place of transcripts. `"local"`: only the CLI's files. `"store"`: also a copy in the store, from which a
   * session is resumed if the CLI's files are gone. Default `"local"`, and `"store"` with `store.postgres`.
   */
  transcripts?: 'local' | 'store'
  /** What agents tell of their work over OpenTelemetry. Default: nothing. */
  telemetry?: TelemetryOptions
  /** Receives a line for every closed worker, refusal and failure. Default: none. */
  logger?: Logger
  /** How other hosts of the same database reach this one. Default: they do not, and a session at another host cannot be used here. */
  cluster?: ClusterOptions
  /** `{ postgres: URL }`, or a store of your own. Default: SQLite in the data directory. */
  store?: Store | PostgresOptions
  /** Default: the Agent SDK's `claude`. */
  driver?: Driver
  /** Default: the system's. */
  clock?: Clock
  /** The source of the pool's memory figures. Default: the system's. */
  memory?: MemorySource
}

const KNOWN: Record<keyof PoolOptions, true> = {
  agents: true,
  dataDir: true,
  api: true,
  isolation: true,
  budgets: true,
  limits: true,
  admission: true,
  residency: true,
  starts: true,
  events: true,
  retention: true,
  transcripts: true,
  telemetry: true,
  logger: true,
  cluster: true,
  store: true,
  driver: true,
  clock: true,
  memory: true,
}

/** The default data directory of a pool. */
export const DEFAULT_DATA_DIR = '.claude-agent-pool'

/**
 * Creates a pool. Throws ConfigError for an invalid option, HostRunningError if another process has the data directory,
 * StoreError if the directory or the database cannot be used, and StartError if the boundary of `isolation` does not hold on this machine. A
 * missing `claude` or API key is an error at the first turn, not here.
 */
export async function createPool(options: PoolOptions): Promise<Pool> {
  const read = readOptions(options)
  const { agents, path, settings, transcripts } = read
  const clock = options.clock ?? systemClock
  const calendar = calendarOf(clock)
  const dates = { wall: () => calendar.latest }
  // What was opened is closed again if the pool cannot be made.
  await using opened = new Unwinding()
  const dataDir = new DataDir(path, dates)
  opened.defer(() => dataDir.release())
  const { store, place } = await openStore(dataDir, read)
  if (read.own === undefined) opened.defer(() => store.close())
  const { storeFile, spoolDir, runDir, tenantFiles } = dataDir
  const spoolLimitBytes = settings.limits.spoolBytes
  // Its probes are processes of their own, and take longest.
  const { isolation, confinements } = read
  const network = confinements.needs(agents.own)
  const claudePath = options.driver === undefined ? findClaudeExecutable() : undefined
  const places = {
    dataDir: dataDir.path,
    storeFile,
    path: process.env['PATH'],
    programs: claudePath === undefined ? [] : [claudePath],
  }
  const modes = confinements.modes(agents.own)
  const mayHaveUsers = network !== undefined && modes.includes('user')
  if (mayHaveUsers) dataDir.letUsersPass(true)
  const { paths, uids } = isolation
  const probing =
    network === undefined ? Promise.resolve(undefined) : openBoundary({ modes, network, paths, uids }, places)
  probing.catch(ignored)
  opened.defer(() => probing.then(ignored, ignored))
  const freezes = [settings, ...agents.own].some(({ residency }) => residency?.freezes)
  const cgroup = options.driver === undefined ? openCgroups(confinements.limited(agents.own), { freezes }) : undefined
  opened.defer(() => cgroup?.remove())
  confinements.controllers = cgroup?.facts.controllers ?? []
  const refreshed = new RefreshedApi(clock, read.api)
  opened.defer(() => refreshed.close())
  await refreshed.begin()
  const credentials = await openProxy(options, { ...read, api: refreshed.current }, { clock, store, dataDir })
  opened.defer(() => credentials?.close())
  const boundary = await probing
  confinements.boundary = boundary
  if (boundary?.mode === 'user') dataDir.giveUsers(uids)
  else if (mayHaveUsers) dataDir.letUsersPass(false)
  const files = tenantFiles
  const compileCache = process.env['NODE_COMPILE_CACHE']
  const own = { clock, files, runDir, spoolDir, spoolLimitBytes, boundary, cgroup, compileCache }
  const driver = options.driver ?? new ClaudeDriver(own)
  const ledger = new UsageLedger({ clock, driver, places: dataDir })
  const { hosts } = store
  const peers = read.cluster && hosts && (await openPeerPort(read.cluster, hosts))
  opened.defer(() => peers?.port.close())
  const at = peers && (read.cluster?.advertise ?? peers.port.address)
  const address = at && toldAddress(at)
  const joining = { clock, place, version: packageVersion(), address, agents: () => agents.forms }
  const membership = hosts && (await Membership.join({ ...joining, directory: hosts }))
  const member = membership ?? onlyHost(await store.register(place))
  // Among others, the pool takes over what hosts that are gone have left.
  if (membership === undefined) await adoptOpenTurns({ store, clock, ledger, member })
  const pool = new Pool({
    clock,
    driver,
    store,
    member,
    membership,
    peers,
    memory: options.memory ?? systemMemory(clock),
    agents,
    ledger,
    settings,
    host: {
      files: dataDir,
      tenantFiles,
      ...environmentFor(settings.starts, read, refreshed),
      refreshed,
      credentials,
      claudePath,
      isolation: { mode: modeOf(isolation, boundary), egress: writtenEgress(isolation.egress), cgroup: cgroup?.facts },
      confinements,
      transcripts: {
        copied: transcripts === 'store',
        of: (tenant, ownership) => sessionStore(store, tenant, dates, ownership),
        move: (tenant, sdkSessionId, project, ownership) =>
          moveTranscripts(store, { tenant, sdkSessionId, project }, ownership),
      },
      runFiles: openRunFiles(runDir),
      control: new ControlSocket(dataDir.controlPath, dataDir.controlSecret),
      release: () => dataDir.release(),
    },
  })
  // The pool closes it all from now on.
  opened.move()
  traceTurns(pool)
  if (options.logger !== undefined) {
    logPool(pool, options.logger)
    if (read.telemetry.agents === undefined) tellOfDroppedTelemetry(options.logger, process.env)
  }
  return pool
}

const ignored = (): void => undefined

/** What holds for all agents. A boundary may be there for some of them alone. */
const modeOf = ({ mode }: Isolation, boundary: Boundary | undefined): IsolationStats['mode'] =>
  mode === 'none' ? mode : (boundary?.mode ?? 'none')

/** Throws the ConfigError that `createPool()` would throw for these options, and opens nothing. */
export function checkPoolOptions(options: PoolOptions): void {
  readOptions(options)
}

/** The options, checked and resolved. */
interface ReadOptions {
  agents: Agents
  path: string
  settings: PoolSettings
  api: ApiOptions
  isolation: Isolation
  confinements: Confinements
  budgets: Budgets
  transcripts: 'local' | 'store'
  telemetry: Telemetry
  /** A store of the caller's own. */
  own: Store | undefined
  database: PostgresAddress | undefined
  cluster: Cluster | undefined
}

function readOptions(options: PoolOptions): ReadOptions {
  const agents = agentsOf(options)
  const path: unknown = options.dataDir ?? DEFAULT_DATA_DIR
  if (typeof path !== 'string' || path === '') throw new ConfigError('dataDir', 'is not the path of a directory')
  const residency = readResidency(options.residency)
  const { own, database } = storeOf(options.store)
  const transcripts = options.transcripts ?? (database === undefined ? 'local' : 'store')
  if (transcripts !== 'local' && transcripts !== 'store')
    throw new ConfigError('transcripts', notOneOf(transcripts, ['local', 'store']))
  const keepsEvents: unknown = options.events ?? true
  if (typeof keepsEvents !== 'boolean') throw new ConfigError('events', 'must be true or false')
  const admission = readAdmission(options.admission)
  const limits = limitsOf(residency, readLimits(options.limits))
  const starts = readStarts(options.starts)
  const retention = readRetention(options.retention)
  const concurrent = starts.concurrent ?? availableParallelism()
  const api = readApi(options.api)
  const isolation = readIsolation(options.isolation)
  const confinements = new Confinements(isolation)
  checkSandboxed(options, agents, { isolation, confinements })
  checkRemotes(options, agents, isolation)
  checkLeanCredentials(agents, api)
  return {
    agents,
    path,
    settings: { admission, residency, limits, starts: { ...starts, concurrent }, retention, keepsEvents },
    api,
    isolation,
    confinements,
    budgets: budgetsOf(options, isolation, api),
    transcripts,
    telemetry: readTelemetry(options.telemetry),
    own,
    database,
    cluster: clusterOf(options),
  }
}

/** Throws ConfigError. */
function clusterOf({ cluster, store }: PoolOptions): Cluster | undefined {
  const read = readCluster(cluster)
  const hasHosts = store !== undefined && (!isStore(store) || (store as Store).hosts !== undefined)
  if (read !== undefined && !hasHosts)
    throw new ConfigError('cluster', 'needs a store that hosts share; give store: { postgres: URL }, or leave it out')
  return read
}

function storeOf(store: PoolOptions['store']): Pick<ReadOptions, 'own' | 'database'> {
  if (store === undefined) return { own: undefined, database: undefined }
  return isStore(store)
    ? { own: store as Store, database: undefined }
    : { own: undefined, database: readPostgres(store) }
}

const wanted = ({ min = 0, max = min }: SpareOptions = {}): number => max

function checkSandboxed(
  options: PoolOptions,
  agents: Agents,
  { isolation, confinements }: { isolation: Isolation; confinements: Confinements },
): void {
  for (const agent of agents.own) {
    const { name } = agent
    confinements.check(`agents.${name}.isolation`, agent)
    const [limit] = confinements.limited([agent])
    if (options.driver !== undefined && limit !== undefined)
      throw new ConfigError(
        `isolation.${limit}`,
        'is for processes of the Agent SDK, not for those of your own driver; leave it out',
      )
    if (options.driver !== undefined && (isolation.mode !== 'none' || confinements.isSandboxed(agent)))
      throw new ConfigError(
        'isolation.mode',
        'is for processes of the Agent SDK, not for those of your own driver; write "none"',
      )
    if (confinements.isSandboxed(agent) && wanted(agent.options.unboundSpares) > 0)
      throw new ConfigError(
        `agents.${name}.unboundSpares`,
        'cannot be kept: a sandbox is made for one directory; leave it out, or write isolation.mode "user" or "none"',
      )
  }
}

function checkRemotes({ driver }: PoolOptions, agents: Agents, { credentials }: Isolation): void {
  const agent = agents.own.find(({ remotes }) => remotes.length > 0)
  if (agent === undefined || (driver === undefined && credentials === 'proxy')) return
  const why =
    driver === undefined
      ? 'leave out isolation.credentials, or set it to "proxy"'
      : 'it serves the Agent SDK alone, not your own driver'
  throw new ConfigError(`agents.${agent.name}.remotes`, `need the credential proxy; ${why}`)
}

function checkLeanCredentials({ own }: Agents, api: ApiOptions): void {
  const host = hostEnvironment(api, process.env)
  for (const { name, options } of own) checkLeanCredential(name, options, { ...host, ...options.env } as typeof host)
}

function budgetsOf(options: PoolOptions, { credentials }: Isolation, api: ApiOptions): Budgets {
  const budgets = readBudgets(options.budgets)
  if (options.driver !== undefined && hasBudget(budgets))
    throw new ConfigError('budgets', 'need the credential proxy, which serves only the Agent SDK, not your own driver')
  checkBudgets(budgets, credentials, hostEnvironment(api, process.env))
  return budgets
}

/** The credential proxy of the Agent SDK's processes. Its own process starts with the first that needs it. */
async function openProxy(
  { agents, driver }: PoolOptions,
  { api, isolation, budgets }: ReadOptions,
  { clock, store, dataDir }: { clock: Clock; store: Store; dataDir: DataDir },
): Promise<CredentialProxy | undefined> {
  if (driver !== undefined || isolation.credentials === 'environment') return undefined
  const { socketDir } = dataDir
  const environment = process.env
  const proxy = new CredentialProxy({ clock, store, budgets, socketDir, claudeVersion: claudeVersion(), environment })
  try {
    await proxy.open()
    if (Object.values(agents).some(({ spares }) => (spares?.min ?? 0) > 0))
      proxy.startAhead(hostEnvironment(api, environment))
    return proxy
  } catch (error) {
    await proxy.close()
    throw error
  }
}

function environmentFor(
  { mcpTimeoutMs }: Starts,
  { telemetry }: Pick<ReadOptions, 'telemetry'>,
  api: RefreshedApi,
): Pick<PoolHost, 'environment' | 'updateApi' | 'modelEnvironment'> {
  const timeout = { MCP_TIMEOUT: String(Math.round(mcpTimeoutMs)) }
  return {
    environment: (places, agent, tenant) => {
      const told = telemetryEnvironment(telemetry, { tenant, agent: agent.name })
      const host = { ...timeout, ...told, ...hostEnvironment(apiOf(api.current, tenant), process.env) }
      const environment = agentEnvironment(host, places, agent.options.env ?? {})
      checkLeanCredential(agent.name, agent.options, environment)
      return environment
    },
    modelEnvironment: (tenant) => hostEnvironment(apiOf(api.current, tenant), process.env),
    updateApi: (next) => api.update(readApi(next)),
  }
}

/** The host's variables of OpenTelemetry are for its own spans. */
function tellOfDroppedTelemetry(logger: Logger, host: NodeJS.ProcessEnv): void {
  const names = Object.keys(host).filter((name) => name.startsWith('OTEL_'))
  if (names.length > 0)
    logger.info('agents do not inherit OTEL_ variables; set telemetry.agents to give them some', { names })
}

function systemMemory(clock: Clock): MemorySource {
  const table = new ProcessTable()
  return new SystemMemory({
    now: () => clock.now(),
    trees: () => treesInSteps(table),
    machine: machineMemory,
  })
}

function openRunFiles(dir: string): RunFiles {
  try {
    return new RunFiles(dir)
  } catch (error) {
    throw storeError(`${dir} cannot be used`, error)
  }
}

function agentsOf(options: PoolOptions): Agents {
  if (typeof options !== 'object' || options === null) throw new ConfigError('options', 'must be an object with agents')
  const unknown = Object.keys(options).find((key) => !(key in KNOWN))
  if (unknown !== undefined) throw unknownOption('', unknown, Object.keys(KNOWN), 'an option of a pool')
  return new Agents(options.agents, options.residency)
}
