import { StartError } from '../errors.ts'
import type { ExitFacts } from '../errors.ts'
import type {
  Options,
  Query,
  SDKMessage,
  SDKResultMessage,
  SDKUserMessage,
  SessionStore,
} from '@anthropic-ai/claude-agent-sdk'
import type { WorkerLimits } from '../options/cgroup-limits.ts'
import type { Graces, TerminateReport } from '../process/terminate.ts'

export type { ExitFacts }
export type { Graces, TerminateReport, TerminateStage } from '../process/terminate.ts'
export type {
  CanUseTool,
  HookCallback,
  McpServerConfig,
  McpServerStatus,
  OnElicitation,
  OnUserDialog,
  Options,
  PermissionResult,
  Query,
  SDKMessage,
  SDKResultMessage,
  SDKUserMessage,
  SessionKey,
  SessionStore,
  SessionStoreEntry,
  SpareProcess,
  SpawnOptions,
  SpawnedProcess,
} from '@anthropic-ai/claude-agent-sdk'

/** How much of a conversation a process goes on with: up to this message, where only that turn may be lost. */
export interface ResumePoint {
  at?: string | undefined
  dropsTurn?: string | undefined
}

/** How a process starts: which conversation it holds. `fork`: a new one that begins as `of`. `parked`: none yet; it is bound to one later. */
export type StartMode =
  | { kind: 'new'; sessionId: string }
  | ({ kind: 'resume'; sessionId: string } & ResumePoint)
  | ({ kind: 'fork'; sessionId: string; of: string } & ResumePoint)
  | { kind: 'unbound' }

/** Everything that is fixed when a process starts. */
export interface StartSpec {
  /** Names the process in its environment, in logs and in `ps`. */
  workerId: string
  /** The agent's SDK options, without what this record carries beside them. */
  options: Options
  /** The process's directory; absolute and existing. */
  cwd: string
  /** Its TMPDIR, which the driver keeps tidy. */
  tmpDir: string
  /** The environment of the process, apart from `lateEnv`. */
  env: Record<string, string>
  /** Variables that are known only later. The process starts after them; a rejection fails its start. */
  lateEnv?: Promise<Record<string, string>>
  /** Options that are known only later, as `lateEnv`. They replace those of `options`. */
  lateOptions?: Promise<Options>
  conversation: StartMode
  /** What the process can reach; undefined: all that the host's user can. */
  confinement?: Confinement
  /** What it and all that it starts may use, by its cgroup; undefined: as much as the host. It does not start without these limits. */
  limits?: WorkerLimits | undefined
  /** Settles when what the process needs beside it is there. It is not ready before; a rejection fails its start. */
  prepared?: Promise<void>
  /** How long the process may take until it is initialised, in milliseconds. */
  initializeTimeoutMs: number
}

/** What a process behind a boundary can reach beside its own places. */
export interface Confinement {
  /** The user of its tenant, if tenants have users. */
  owner?: number | undefined
  /** Everything, the model alone, or what the HTTP proxy at a socket leads to. */
  network: 'open' | 'model' | { socket: string; allow: readonly (readonly string[])[] }
}

/** Runs processes behind a boundary. */
export interface Boundary {
  /** The command that runs this one inside. Throws StartError for what it would need and could not see there. */
  wrap(
    inner: { command: string; args: readonly string[]; cwd: string; env: Readonly<Record<string, string | undefined>> },
    options: Options,
    confinement: Confinement,
  ): {
    command: string
    args: string[]
    env: Readonly<Record<string, string | undefined>>
    /** Its signals and exits are those of the process inside. */
    isSandbox: boolean
  }
}

/** The answer to an interrupt: prompts that will still run. */
export type InterruptReceipt = NonNullable<Awaited<ReturnType<Query['interrupt']>>>

/** One process of a worker's tree, as it is now. */
export interface ProcessInfo {
  pid: number
  ppid: number
  /** 0 for the worker's own process and for a process without its parent, 1 for their children, and so on. */
  depth: number
  command: string
  ageMs: number
  /** Anonymous memory; undefined if the process has just ended, or if there is no `/proc`. */
  memoryBytes: number | undefined
}

/** One running agent process. */
export interface AgentProcess {
  readonly pid: number | undefined
  /** False once it has exited or its input is closed, even before `exited` has settled. */
  readonly alive: boolean
  /** Settles when it is initialised. Rejects with StartError or ResumeError; the process is then on its way out. */
  readonly ready: Promise<void>
  /** Settles once the process is gone, however it ended. Never rejects. */
  readonly exited: Promise<ExitFacts>
  /** What the process says, in order. Ends when the process does; to be read once. */
  readonly messages: AsyncIterable<SDKMessage>
  /** The SDK's own handle, for its control methods. */
  readonly query: Query
  /** Clock reading of the last byte it wrote, in milliseconds. */
  readonly lastOutputAt: number
  /** True while its conversation is held back because its reader has stopped. */
  readonly heldBack: boolean
  /** Calls the listener when `heldBack` changes. Called at most once. A driver without it tells no turn that its reader holds it back. */
  onHeldBack?(listener: (heldBack: boolean) => void): void
  /** Binds an unbound process to `cwd` and resolves with its session id. Refused: BindRefusedError; nothing was sent. */
  bind(cwd: string): Promise<string>
  /** Resolves when the message has been handed to the process: it may run from then on. False: it was not, and never will be. */
  send(message: SDKUserMessage): Promise<boolean>
  /** The same for a command of the CLI itself, whatever the agent's options make of prompts that look like one. */
  command(message: SDKUserMessage): Promise<boolean>
  /** Resolves when the process has taken note, with what it says of its queue. */
  interrupt(): Promise<InterruptReceipt | undefined>
  /** Calls the listener with its stderr: the last 8 KiB so far, and everything that follows. */
  onStderr(listener: (text: string) => void): void
  /** Has the process make its prompt and tools ready ahead of its first turn; resolves when it has, or cannot. An unbound one is left alone. */
  prepare(): Promise<void>
  /** Resolves when the process answers a question that costs nothing. An unbound one is not asked. */
  probe(): Promise<void>
  /** True if it can be frozen now. Undefined: never, by this driver. */
  readonly freezes?: boolean
  /** Stops the process and all it started until `thaw()`, and has their memory paged out. What is said to it meanwhile waits. */
  freeze?(): void
  /** Lets a frozen process go on, at once. */
  thaw?(): void
  /** Bytes of it and all it started that are paged out; undefined if they are not counted. */
  readonly swappedBytes?: number | undefined
  /** Reports that everything read so far was consumed, so more may come. */
  consumed(): void
  /** Ends the process and all it started, and resolves when that is verified. Repeated calls share one promise. */
  terminate(graces: Graces): Promise<TerminateReport>
}

/** A start failed, and the driver has removed the reason: another try may succeed. */
export class RepairedStartError extends StartError {
  constructor(repair: string, { phase, message, exit, cause }: StartError) {
    super(phase, `${message}; ${repair}`, exit, { cause })
    this.name = 'StartError'
  }
}

/** Why an unbound process could not become a session: the reason's code, as the CLI names it. Nothing was sent to it. */
export class BindRefusedError extends Error {
  readonly reason: string

  constructor(reason: string, message: string) {
    super(message)
    this.name = 'BindRefusedError'
    this.reason = reason
  }
}

/** What an answer of the model says of itself, or one of the pieces in which it came. */
export type ModelAnswer = Pick<
  Extract<SDKMessage, { type: 'assistant' }>['message'],
  'id' | 'model' | 'usage' | 'content'
>

/** The usage of the model according to a conversation's transcript. */
export interface TranscriptUsage {
  /** The running total from which the next process goes on; undefined where none was saved. */
  saved: Pick<SDKResultMessage, 'modelUsage' | 'total_cost_usd'> | undefined
  /** Answers that are not in it, oldest first within each file. */
  unsaved: { at: number; answer: ModelAnswer }[]
}

/** The place of a conversation's transcript. */
export interface TranscriptPlace {
  configDir: string
  tmpDir: string
  cwd: string
  sessionId: string
}

/** What a process that resumes a conversation has to load, in bytes. */
export interface ResumeLoad {
  /** What follows the last compaction, and what that has kept of before. */
  bytes: number
  /** The whole transcript. */
  fileBytes: number
  /** The last compaction, by its id. */
  compaction: string | undefined
  /** Nothing was said since: another compaction would make nothing smaller. */
  summedUp: boolean
}

/** Events of a driver beside those of its processes. */
export interface DriverListeners {
  /** An error in work that no caller asked for. */
  trouble: (message: string, error: unknown) => void
  /** Processes of hosts that are gone were found and ended. */
  reaped: (report: { pids: number[]; left: number }) => void
}

/** The port to whatever runs agents. Two implementations: the Agent SDK's `claude`, and a remote-controlled fake. */
export interface Driver {
  /** Called once, by the pool that uses it and before the first start. */
  attach(listeners: DriverListeners): void
  /** Ends what the driver itself keeps running. Processes are the pool's to end, and have ended before. */
  close(): Promise<void>
  /**
   * Processes may run until this reading of `Clock.uptime`; after it they stand still until a later call. `"lost"`: they end at once.
   * For hosts that share a store. Without a call, processes run as long as the host does.
   */
  lease?(until: number | 'lost'): void
  /** The name by which copies of conversations of a working directory are kept. */
  projectOf(cwd: string): string
  /** Every process of each worker, descendants included, by worker id: one look at the process table. */
  trees(): ReadonlyMap<string, ProcessInfo[]>
  /** Starts a process without waiting. Errors arrive through `ready` and `exited`. */
  start(spec: StartSpec): AgentProcess
  /** Copies a conversation as it is now, for processes in `cwd`; resolves with the copy's id. Throws ResumeError if there is none. */
  fork(place: TranscriptPlace, cwd: string): Promise<string>
  /** Makes what the process keeps of a conversation and its copy in a store agree: each gets what it lacks, and the process is right. */
  reconcile(place: TranscriptPlace, store: SessionStore): Promise<void>
  /** Removes what the process kept of a conversation, and its copy. Removing twice is no error. */
  forget(place: TranscriptPlace, store: SessionStore): Promise<void>
  /**
   * Removes files of conversations that are not `known` and were last written before that time, in milliseconds since
   * the epoch. A dry run only counts them. Returns the number of files and folders.
   */
  forgetUnknown(
    tenant: Pick<TranscriptPlace, 'configDir' | 'tmpDir'>,
    known: ReadonlySet<string>,
    options: { before: number; dryRun: boolean },
  ): Promise<number>
  /** The stored bytes of each conversation of a tenant, without copies in a store. */
  sizes(tenant: Pick<TranscriptPlace, 'configDir' | 'tmpDir'>): Promise<ReadonlyMap<string, number>>
  /** The files of a conversation, by names relative to the folder. If there are none yet, only the folder. */
  transcript(place: TranscriptPlace): Promise<{ folder: string; names: string[] }>
  /**
   * The usage of a conversation according to its files, only of answers after that time, in milliseconds since the
   * epoch.
   */
  usage(place: TranscriptPlace, after: number): Promise<TranscriptUsage>
  /**
   * The size of a conversation's transcript, in bytes. With `said`: undefined if the process could not write all of it. The
   * entry `last` or one of its parents is missing, up to the first parent within the first `since` bytes.
   */
  checkTranscript(place: TranscriptPlace, said?: { last: string; since: number }): Promise<number | undefined>
  /** What a process would have to load of a conversation; undefined where its transcript has no more than `above` bytes, or is not there. */
  resumeLoad(place: TranscriptPlace, above: number): Promise<ResumeLoad | undefined>
  /** The error of a query that was aborted, of the class that the SDK throws then. */
  abortError(message: string): Error
}
