import { join } from 'node:path'
import type { CancelTimer, Clock } from '../clock.ts'
import { ConfigError, ResumeError, StartError, StoreError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { HostCgroup } from '../process/cgroup.ts'
import { Guard } from '../process/guard.ts'
import { folderName } from '../transcripts/folder.ts'
import { checkHandOver } from '../process/hand-over.ts'
import { Reaper } from '../process/reaper.ts'
import { ProcessTable } from '../process/table.ts'
import { treesOfThisHost } from '../process/tree.ts'
import { OomWatch } from '../memory/oom.ts'
import { formatDuration } from '../units.ts'
import { agentSdk } from './agent-sdk.ts'
import { handedOver } from './command-line.ts'
import { saysDamagedConfig } from './config-file.ts'
import { BindRefusedError, RepairedStartError } from './driver.ts'
import type {
  AgentProcess,
  Boundary,
  Confinement,
  StartMode,
  Driver,
  DriverListeners,
  ExitFacts,
  InterruptReceipt,
  Options,
  ProcessInfo,
  Query,
  ResumeLoad,
  SDKMessage,
  SDKUserMessage,
  SessionStore,
  SpareProcess,
  SpawnOptions,
  SpawnedProcess,
  StartSpec,
  TranscriptPlace,
  TranscriptUsage,
  Graces,
  TerminateReport,
} from './driver.ts'
import { Freezing } from './freezing.ts'
import { GatedProcess } from './gated-process.ts'
import { PromptInput } from './input.ts'
import { inOrder } from './processes.ts'
import { Spool } from './spool.ts'
import { ConversationFiles } from './conversation-files.ts'
import { exitSentence, startFailure } from './start-failure.ts'

/** Nothing can be heard any more of a process that broke the protocol: no reason to wait for it. */
const BROKEN_GRACES: Graces = { eofMs: 0, sigtermMs: 1_000 }

/** Refused for a reason that a claim may give while the conversation runs nevertheless (model or thinking not applied). */
const BOUND_ALL_THE_SAME = 'option_not_applied'

/** A day: the driver times starts itself. The SDK's own timer would count time in which the host stood still. */
const NOT_TIMED_BY_THE_SDK = 24 * 60 * 60_000

/** When an idle host loads the Agent SDK, so that its first turn does not. */
const PRELOAD_AFTER_MS = 500

/** The report on a process that was never spawned. */
const NEVER_STARTED: TerminateReport = { stage: 'gone', ms: 0, processes: 0, stragglers: 0, left: 0 }

export interface ClaudeDriverOptions {
  clock: Clock
  /** The way to what processes keep. */
  files: TenantFiles
  /** Where hosts note their workers. */
  runDir: string
  /** Where output waits whose reader does not read. */
  spoolDir: string
  /** Bytes of a turn that may wait on disk; beyond them the process itself is held back. */
  spoolLimitBytes: number
  /** Around each process. Default: none. */
  boundary?: Boundary | undefined
  /** Where processes get cgroups of their own. Default: made when a pool uses the driver, if there can be one. The driver removes it. */
  cgroup?: HostCgroup | undefined
  /** Where Node caches compiled code, for the sentinel. Default: it does not. */
  compileCache?: string | undefined
}

/** What all processes of a driver share. */
interface Shared {
  files: ConversationFiles
  oom: OomWatch
  cgroup: HostCgroup | undefined
  freezing: Freezing
  trouble: DriverListeners['trouble']
}

const once = <T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: unknown) => void } =>
  Promise.withResolvers<T>()

/** The claim's answer; a refusal after which the conversation is bound all the same is one, too. */
const settled = (spare: SpareProcess): Promise<{ sessionId: string }> =>
  spare.claimed.catch((error: Error & { claim?: { sessionId: string } }) => {
    if (error.message.startsWith(BOUND_ALL_THE_SAME) && error.claim !== undefined) return error.claim
    throw error
  })

/** The options that say which conversation a process holds. */
function identityOf(conversation: StartMode): Options {
  if (conversation.kind === 'unbound') return {}
  const { sessionId } = conversation
  if (conversation.kind === 'new') return { sessionId }
  const { at, dropsTurn } = conversation
  return {
    ...(conversation.kind === 'resume'
      ? { resume: sessionId }
      : { resume: conversation.of, forkSession: true, sessionId }),
    ...(at === undefined ? {} : { resumeSessionAt: at }),
    ...(dropsTurn === undefined ? {} : { resumeDropsTurn: dropsTurn }),
  }
}

/** One `claude` process, from the SDK's side. */
class ClaudeProcess implements AgentProcess {
  readonly ready: Promise<void>
  readonly exited: Promise<ExitFacts>
  readonly messages: AsyncIterable<SDKMessage>
  readonly #spec: StartSpec
  readonly #clock: Clock
  readonly #driver: ClaudeDriverOptions
  readonly #shared: Shared
  readonly #input = new PromptInput()
  readonly #bound = once<Query>()
  readonly #exited = once<ExitFacts>()
  readonly #startedAt: number
  #env: Record<string, string>
  #lateOptions: Options = {}
  #query: Query | undefined
  #spare: SpareProcess | undefined
  #child: GatedProcess | undefined
  #onHeldBack: ((heldBack: boolean) => void) | undefined
  #reading = false
  /** True once the SDK has asked for its process. */
  #spawning = false
  #terminating: Promise<TerminateReport> | undefined
  #prepared: Promise<void> | undefined

  constructor(spec: StartSpec, driver: ClaudeDriverOptions, shared: Shared) {
    this.#shared = shared
    this.#spec = spec
    this.#env = spec.env
    this.#driver = driver
    this.#clock = driver.clock
    this.#startedAt = this.#clock.now()
    this.exited = this.#exited.promise
    this.messages = this.#readMessages()
    this.#bound.promise.catch(() => undefined)
    this.ready = this.#initialize()
    this.ready.catch(() => undefined)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get alive(): boolean {
    return this.#child?.alive ?? false
  }

  get query(): Query {
    if (this.#query === undefined) throw new Error(`worker ${this.#spec.workerId} has no session yet`)
    return this.#query
  }

  get lastOutputAt(): number {
    return this.#child?.lastOutputAt ?? this.#startedAt
  }

  get heldBack(): boolean {
    return this.#child?.stdout.holding ?? false
  }

  async bind(cwd: string): Promise<string> {
    const spare = this.#spare
    if (spare === undefined) throw new Error(`worker ${this.#spec.workerId} is not unbound`)
    try {
      const claimed = spare.claim({ prompt: this.#input, options: { cwd } })
      // The prompt stream is empty until the claim is settled: so a refusal never leaves a prompt behind.
      const { sessionId } = await this.#inTime(
        [settled(spare)],
        (limit) => new Error(`claim_overdue: the unbound process did not answer within ${limit}`),
      )
      this.#attach(claimed)
      return sessionId
    } catch (error) {
      const message = (error as Error).message
      throw new BindRefusedError(/^\w+/.exec(message)?.[0] ?? 'refused', message)
    }
  }

  send(message: SDKUserMessage): Promise<boolean> {
    return this.command(this.#spec.options.verbatimPrompts === true ? { ...message, client_composed: true } : message)
  }

  command(message: SDKUserMessage): Promise<boolean> {
    return this.alive ? this.#input.send(message) : Promise.resolve(false)
  }

  async interrupt(): Promise<InterruptReceipt | undefined> {
    return this.#query?.interrupt()
  }

  onHeldBack(listener: (heldBack: boolean) => void): void {
    this.#onHeldBack = listener
  }

  onStderr(listener: (text: string) => void): void {
    this.#child?.onStderr(listener)
  }

  prepare(): Promise<void> {
    // To tell how full its context is it has to make what is in it; a summary asks no API.
    this.#prepared ??= this.#query?.getContextUsage({ detail: 'summary' }).then(
      () => undefined,
      () => undefined,
    )
    return this.#prepared ?? Promise.resolve()
  }

  async probe(): Promise<void> {
    await this.#query?.mcpServerStatus()
  }

  get freezes(): boolean {
    return this.#child?.frozen?.isPossible === true
  }

  get swappedBytes(): number | undefined {
    return this.#child?.frozen?.swappedBytes
  }

  freeze(): void {
    this.#child?.frozen?.freeze()
  }

  thaw(): void {
    this.#child?.frozen?.thaw()
  }

  consumed(): void {
    this.#child?.stdout.consumed()
  }

  terminate(graces: Graces): Promise<TerminateReport> {
    this.#terminating ??= this.#terminate(graces)
    return this.#terminating
  }

  async #terminate(graces: Graces): Promise<TerminateReport> {
    this.#input.end()
    const report = await (this.#child?.terminate(graces) ?? NEVER_STARTED)
    this.#exited.resolve({ cause: 'not_started', exitCode: null, signal: null, stderr: '' })
    if (!this.#reading) this.#release()
    // What cannot be tidied away now goes after a later start: no reason to call this end a failure.
    if (this.pid !== undefined) await this.#shared.files.tidy(this.#spec.tmpDir, this.pid).catch(() => undefined)
    return report
  }

  /** Lets go of what the SDK holds for this process: pending control requests, callbacks, in-process tools. */
  #release(): void {
    this.#child?.stdout.destroy()
    this.#query?.close()
    this.#spare?.close()
  }

  async #initialize(): Promise<void> {
    try {
      await this.#inTime(
        [this.#startPrepared(), this.#diedEarly()],
        (limit) => new StartError('initialize', `the agent process was not ready within ${limit}`),
      )
      this.#child?.startup.forget()
    } catch (error) {
      throw await this.#startFailure(error as Error)
    }
  }

  /** The first of `ways` to settle, or the error when none does in the time that a start may take. */
  async #inTime<T>(ways: Promise<T>[], overdue: (limit: string) => Error): Promise<T> {
    const deadline = once<never>()
    const { initializeTimeoutMs } = this.#spec
    const cancel = this.#clock.after(initializeTimeoutMs, () =>
      deadline.reject(overdue(formatDuration(initializeTimeoutMs))),
    )
    try {
      return await Promise.race([...ways, deadline.promise])
    } finally {
      cancel()
    }
  }

  /** What it needs is made while it starts: it asks for nothing before its first turn. */
  async #startPrepared(): Promise<void> {
    const { lateEnv, lateOptions, prepared } = this.#spec
    if (lateEnv !== undefined) this.#env = { ...this.#env, ...(await lateEnv) }
    if (lateOptions !== undefined) this.#lateOptions = await lateOptions
    // A sandbox shows what is there when it begins.
    if (this.#spec.confinement !== undefined) await prepared
    await Promise.all([this.#start(), prepared])
  }

  async #start(): Promise<void> {
    const options = this.#sdkOptions()
    if (this.#spec.conversation.kind === 'unbound') {
      this.#spare = await agentSdk().prewarm({ options, initializeTimeoutMs: NOT_TIMED_BY_THE_SDK })
      this.#spare.claimed.catch(() => undefined)
      return
    }
    const started = this.#open(options)
    this.#attach(started)
    await started.initializationResult()
  }

  /** Before it starts a process, the SDK throws for options that do not fit together. */
  #open(options: Options): Query {
    try {
      return agentSdk().query({ prompt: this.#input, options })
    } catch (error) {
      if (this.#spawning || error instanceof ConfigError) throw error
      throw new ConfigError('options', (error as Error).message, { cause: error })
    }
  }

  #attach(started: Query): void {
    this.#query = started
    this.#bound.resolve(started)
  }

  #sdkOptions(): Options {
    const { options, conversation, cwd } = this.#spec
    return {
      ...options,
      ...this.#lateOptions,
      ...identityOf(conversation),
      ...(conversation.kind === 'unbound' ? {} : { cwd }),
      // With it the SDK would mark commands, too: so each prompt is marked here.
      verbatimPrompts: false,
      env: this.#env,
      spawnClaudeCodeProcess: (request) => this.#spawn(request),
    }
  }

  #spawn({ command, args, env }: SpawnOptions): SpawnedProcess {
    this.#spawning = true
    // The SDK may spawn after the process was told to end: nothing would end it then.
    if (this.#terminating !== undefined) throw new Error('the process was told to go before it was started')
    const { workerId, cwd, confinement, limits } = this.#spec
    const { spoolDir, spoolLimitBytes } = this.#driver
    checkHandOver('', handedOver(args, env))
    const inside = { command, args, cwd, env }
    const outside = confinement === undefined ? inside : this.#sandboxed(inside, confinement)
    const child = new GatedProcess(
      { ...inside, ...outside, workerId, limits },
      {
        clock: this.#clock,
        oom: this.#shared.oom,
        cgroup: this.#shared.cgroup,
        freezing: this.#shared.freezing,
        spool: new Spool(join(spoolDir, `${workerId}.jsonl`), spoolLimitBytes),
        onBroken: () => void this.terminate(BROKEN_GRACES),
        onHeldBack: (heldBack) => this.#onHeldBack?.(heldBack),
        onCut: (problem) => this.#shared.trouble(`worker ${workerId}: ${problem}; the rest was left out`, undefined),
      },
    )
    this.#child = child
    void child.gone.then(this.#exited.resolve)
    return child
  }

  #sandboxed(inside: Parameters<Boundary['wrap']>[0], confinement: Confinement): ReturnType<Boundary['wrap']> {
    const { boundary } = this.#driver
    if (boundary === undefined) throw new StartError('isolation', 'the pool was created without a boundary')
    return boundary.wrap(inside, this.#spec.options, confinement)
  }

  /** Rejects when the process ends before it is ready. */
  async #diedEarly(): Promise<never> {
    const exit = await this.exited
    throw new StartError('initialize', exitSentence(exit), exit)
  }

  /** Why it did not start; the process has gone then. */
  async #startFailure(error: Error): Promise<Error> {
    await this.terminate({ eofMs: 0, sigtermMs: 1_000 })
    const { kind } = this.#spec.conversation
    const failure = startFailure(error, {
      exit: await this.#child?.gone,
      refusal: this.#child?.startup.refusal,
      resuming: kind === 'resume' || kind === 'fork',
    })
    return failure instanceof StartError ? this.#repaired(failure) : failure
  }

  /** Restores a damaged configuration: with it no process of the tenant starts. */
  async #repaired(error: StartError): Promise<StartError> {
    const configDir = this.#spec.env['CLAUDE_CONFIG_DIR']
    if (configDir === undefined || !saysDamagedConfig(`${error.message} ${error.exit?.stderr}`)) return error
    try {
      await this.#shared.files.restoreConfig(configDir)
      return new RepairedStartError('the pool restored the last backup or removed the file', error)
    } catch {
      return error
    }
  }

  async *#readMessages(): AsyncGenerator<SDKMessage> {
    this.#reading = true
    try {
      const bound = await Promise.race([this.#bound.promise, this.exited.then(() => undefined)])
      if (bound !== undefined) yield* bound
    } finally {
      this.#release()
    }
  }
}

/** Runs agents as `claude` processes through the Agent SDK. */
export class ClaudeDriver implements Driver {
  readonly #options: ClaudeDriverOptions
  readonly #files: ConversationFiles
  readonly #oom: OomWatch
  readonly #table = new ProcessTable()
  #cgroup: HostCgroup | undefined
  readonly #freezing: Freezing
  #trouble: DriverListeners['trouble'] = () => undefined
  #guard: Guard | undefined
  #reaper: Reaper | undefined
  #cancelPreload: CancelTimer | undefined

  constructor(options: ClaudeDriverOptions) {
    this.#options = options
    this.#files = new ConversationFiles(options.files)
    this.#oom = new OomWatch(options.clock)
    this.#freezing = new Freezing((message, error) => this.#trouble(message, error), options.clock)
  }

  attach({ trouble, reaped }: DriverListeners): void {
    this.#trouble = trouble
    const { clock, runDir, compileCache } = this.#options
    this.#files.attach(trouble)
    this.#cgroup = this.#options.cgroup ?? HostCgroup.make()
    this.#guard = new Guard(clock, { runDir, cgroups: this.#cgroup?.paths, compileCache }, trouble)
    this.#reaper = new Reaper(clock, runDir, reaped)
    this.#cancelPreload = clock.after(PRELOAD_AFTER_MS, agentSdk)
  }

  start(spec: StartSpec): AgentProcess {
    this.#guard?.post()
    return new ClaudeProcess(spec, this.#options, {
      files: this.#files,
      oom: this.#oom,
      cgroup: this.#cgroup,
      freezing: this.#freezing,
      trouble: this.#trouble,
    })
  }

  lease(until: number | 'lost'): void {
    this.#guard?.lease(until)
  }

  projectOf(cwd: string): string {
    return folderName(cwd)
  }

  trees(): ReadonlyMap<string, ProcessInfo[]> {
    const entries = new Map(this.#table.read().map((entry) => [entry.pid, entry]))
    const trees = treesOfThisHost([...entries.values()])
    return new Map([...trees].map(([id, pids]) => [id, inOrder(pids.flatMap((pid) => entries.get(pid) ?? []))]))
  }

  async close(): Promise<void> {
    this.#cancelPreload?.()
    this.#oom.stop()
    await this.#reaper?.stop()
    await this.#guard?.dismiss()
    this.#cgroup?.remove()
  }

  async fork(place: TranscriptPlace, cwd: string): Promise<string> {
    try {
      const sessionStore = this.#files.asStore(place, cwd)
      const { sessionId } = await agentSdk().forkSession(place.sessionId, { dir: place.cwd, sessionStore })
      return sessionId
    } catch (error) {
      if (error instanceof StoreError) throw error
      throw new ResumeError(`the conversation ${place.sessionId} could not be forked: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  reconcile(place: TranscriptPlace, store: SessionStore): Promise<void> {
    return this.#files.reconcile(place, store)
  }

  forget(place: TranscriptPlace, store: SessionStore): Promise<void> {
    return this.#files.forget(place, store)
  }

  forgetUnknown(...unknown: Parameters<Driver['forgetUnknown']>): Promise<number> {
    return this.#files.forgetUnknown(...unknown)
  }

  sizes(tenant: { configDir: string }): Promise<ReadonlyMap<string, number>> {
    return this.#files.sizes(tenant)
  }

  transcript(place: TranscriptPlace): Promise<{ folder: string; names: string[] }> {
    return this.#files.transcript(place)
  }

  usage(place: TranscriptPlace, after: number): Promise<TranscriptUsage> {
    return this.#files.usage(place, after)
  }

  checkTranscript(place: TranscriptPlace, said?: { last: string; since: number }): Promise<number | undefined> {
    return this.#files.checkTranscript(place, said)
  }

  resumeLoad(place: TranscriptPlace, above: number): Promise<ResumeLoad | undefined> {
    return this.#files.resumeLoad(place, above)
  }

  abortError(message: string): Error {
    return new (agentSdk().AbortError)(message)
  }
}
