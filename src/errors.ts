/** Every `code` a {@link PoolError} can carry. Codes are stable: programs may branch on them. */
export type PoolErrorCode =
  | 'capacity'
  | 'session_busy'
  | 'session_conflict'
  | 'session_deleted'
  | 'session_not_found'
  | 'worker_exited'
  | 'start_failed'
  | 'start_refused'
  | 'worker_memory'
  | 'turn_timeout'
  | 'turn_interrupted'
  | 'resume_failed'
  | 'api_authentication'
  | 'budget_reached'
  | 'invalid_config'
  | 'host_running'
  | 'fenced'
  | 'session_elsewhere'
  | 'store_failed'
  | 'disk_full'
  | 'read_only'
  | 'corrupt'
  | 'schema_newer'
  | 'bad_archive'
  | 'files_failed'
  | 'files_left'
  | 'error_result'
  | 'query_ended'
  | 'pool_closed'
  | 'unsupported_node'

/** The base of every error that the pool raises. `name` is the class, `code` is stable, `message` says what to do. */
export class PoolError extends Error {
  readonly code: PoolErrorCode

  constructor(code: PoolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** An option, key or argument is not valid. Thrown before anything has started. `path` names it: `residency.idleTtl`. */
export class ConfigError extends PoolError {
  readonly path: string
  /** The message without the path. */
  readonly problem: string

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('invalid_config', `${path}: ${problem}`, options)
    this.path = path
    this.problem = problem
  }
}

/** Why a turn was not admitted. */
export type CapacityReason = 'turns' | 'tenant' | 'memory' | 'queue' | 'suspended'

/** The numbers behind a refusal, taken at the moment of it. */
export interface CapacityFacts {
  running: number
  limit: number
  waiting: number
}

/** No room for this turn now. Nothing was sent; try again after `retryAfterMs` (milliseconds, from how long turns take). */
export class CapacityError extends PoolError {
  readonly reason: CapacityReason
  readonly retryAfterMs: number
  readonly facts: CapacityFacts

  constructor(reason: CapacityReason, message: string, retryAfterMs: number, facts: CapacityFacts) {
    super('capacity', message)
    this.reason = reason
    this.retryAfterMs = retryAfterMs
    this.facts = facts
  }
}

/** The session runs a turn already, and the caller did not ask to queue, steer or interrupt (`onBusy`). */
export class SessionBusyError extends PoolError {
  constructor(message: string) {
    super('session_busy', message)
  }
}

/** The key exists with another agent or working directory than the caller named. */
export class SessionConflictError extends PoolError {
  constructor(message: string) {
    super('session_conflict', message)
  }
}

/** The session was deleted, or none has this key. */
export class SessionGoneError extends PoolError {
  constructor(code: 'session_deleted' | 'session_not_found', message: string) {
    super(code, message)
  }
}

/**
 * What ended a process. By itself: `normal` (exit code 0) or `crash` (another one). `signal`: a signal that the pool
 * did not send. `out_of_memory`: the kernel. `ended`: the pool, with a reason. `not_started`: there never was a
 * process.
 */
export type ExitCause = 'normal' | 'crash' | 'signal' | 'out_of_memory' | 'ended' | 'not_started'

/** How a process ended. */
export interface ExitFacts {
  cause: ExitCause
  /** Exit code, or null when a signal ended it. */
  exitCode: number | null
  signal: string | null
  /** The problem of its output, if the pool ended it for that. */
  violation?: string
  /** The limit of its own cgroup, in bytes, if the kernel killed it for that. */
  memoryLimitBytes?: number
  /** The last lines of its stderr (at most 8 KiB). */
  stderr: string
}

/**
 * The process ended during the turn. The prompt may have run and is not sent again, unless the message says that nothing was
 * sent; the session's next turn resumes.
 */
export class WorkerExitedError extends PoolError {
  readonly exitCause: ExitCause
  readonly exitCode: number | null
  readonly signal: string | null
  /** True when the kernel ended the process for memory: give it more, or run fewer turns at once. */
  readonly oomKilled: boolean
  readonly stderr: string

  constructor(message: string, exit: ExitFacts, options?: ErrorOptions) {
    super('worker_exited', message, options)
    this.exitCause = exit.cause
    this.exitCode = exit.exitCode
    this.signal = exit.signal
    this.oomKilled = exit.cause === 'out_of_memory'
    this.stderr = exit.stderr
  }
}

/**
 * The agent's process was ended during the turn, because it and its tools used too much memory. `limit: 'worker'`: more than its
 * own limit, by the pool or by the kernel. `limit: 'host'`: the host was about to run out. The prompt may have run and is not sent
 * again; the session's next turn resumes.
 */
export class WorkerMemoryError extends PoolError {
  readonly limit: 'worker' | 'host'
  /** What the process and all it started used, in bytes. */
  readonly usedBytes: number
  /** `limits.workerMemory`, `isolation.memory`, or the limit of host and workers together; in bytes. */
  readonly limitBytes: number

  constructor(limit: 'worker' | 'host', usedBytes: number, limitBytes: number, message: string) {
    super('worker_memory', message)
    this.limit = limit
    this.usedBytes = usedBytes
    this.limitBytes = limitBytes
  }
}

/**
 * The step at which a start failed: before the process existed, at its sandbox, during its initialisation, or held back after
 * repeated failures.
 */
export type StartPhase = 'spawn' | 'isolation' | 'initialize' | 'backoff'

/** The agent's process could not be started. Nothing was sent. */
export class StartError extends PoolError {
  readonly phase: StartPhase
  readonly exit: ExitFacts | undefined

  constructor(
    phase: StartPhase,
    message: string,
    exit?: ExitFacts,
    options?: ErrorOptions & { code?: 'start_failed' | 'start_refused' },
  ) {
    super(options?.code ?? 'start_failed', message, options)
    this.phase = phase
    this.exit = exit
  }
}

/** The CLI itself refused to start, and said why. It refuses again until the agent's options or the machine's settings change. */
export class StartRefusedError extends StartError {
  /** The CLI's own code (the SDK's `SDKStartupFailureReason`): `sideload_flags_disabled`, `bypass_root`, … */
  readonly reason: string

  constructor(reason: string, message: string, exit?: ExitFacts, options?: ErrorOptions) {
    super('initialize', message, exit, { ...options, code: 'start_refused' })
    this.reason = reason
  }
}

/** A limit ended the turn: `turnTimeout` is the whole turn, `inactivityTimeout` the time without a sign of life. */
export class TurnTimeoutError extends PoolError {
  readonly limit: 'turnTimeout' | 'inactivityTimeout'
  readonly limitMs: number

  constructor(limit: 'turnTimeout' | 'inactivityTimeout', limitMs: number, message: string) {
    super('turn_timeout', message)
    this.limit = limit
    this.limitMs = limitMs
  }
}

/** The turn was cut short on request, before it had a result: aborted, replaced, or its session or pool went away. */
export class TurnInterruptedError extends PoolError {
  constructor(message: string, options?: ErrorOptions) {
    super('turn_interrupted', message, options)
  }
}

/** The conversation cannot be resumed: its transcript is gone, unreadable or too large, or the id is unknown. */
export class ResumeError extends PoolError {
  constructor(message: string, options?: ErrorOptions) {
    super('resume_failed', message, options)
  }
}

/** The model API refused the credential of this pool. */
export class AuthenticationError extends PoolError {
  constructor(message: string, options?: ErrorOptions) {
    super('api_authentication', message, options)
  }
}

/** The session, its agent or its tenant has used up its budget of the model. What was said before is kept; a larger budget lets it go on. */
export class BudgetError extends PoolError {
  constructor(message: string, options?: ErrorOptions) {
    super('budget_reached', message, options)
  }
}

/** Another process runs a pool on this data directory. `pid` is that process. */
export class HostRunningError extends PoolError {
  readonly pid: number | undefined

  constructor(message: string, pid: number | undefined) {
    super('host_running', message)
    this.pid = pid
  }
}

/**
 * Another host owns the session, so the store refused a write and has changed nothing. This host has closed the session's
 * process, and what was stored before stays. Open the session again to go on.
 */
export class FencedError extends PoolError {
  /** The host that owns the session now, by the store's id for it; undefined: none does. */
  readonly owner: string | undefined

  constructor(uid: string, owner: string | undefined, other?: { code: 'session_elsewhere'; message: string }) {
    const why = owner === undefined ? 'this host does not own it any more' : `host ${owner} owns it`
    const message = `session ${uid} cannot be written: ${why}; nothing was changed. Open the session again to go on`
    super(other?.code ?? 'fenced', other?.message ?? message)
    this.owner = owner
  }
}

/** Another host owns the session. Nothing was sent and nothing was changed: send the prompt to that host, or try again later. */
export class SessionElsewhereError extends FencedError {
  /** The host that owns the session, by its place. */
  readonly place: string

  constructor(uid: string, owner: string, place: string) {
    const message = `session ${uid} runs on ${place}; nothing was sent. Send it there, or try again when that host has given the session back`
    super(uid, owner, { code: 'session_elsewhere', message })
    this.place = place
  }
}

/** The problem of the store's files, if that is known. */
export type StoreErrorCode = Extract<
  PoolErrorCode,
  'store_failed' | 'disk_full' | 'read_only' | 'corrupt' | 'schema_newer'
>

/**
 * The store could not read or write. What it had acknowledged is still there, and it goes on as soon as it can.
 * `disk_full`, `read_only`, `corrupt` and `schema_newer` (a newer release has changed the schema) say why; everything else is `store_failed`.
 */
export class StoreError extends PoolError {
  declare readonly code: StoreErrorCode

  constructor(message: string, options?: ErrorOptions & { code?: StoreErrorCode }) {
    super(options?.code ?? 'store_failed', message, options)
  }
}

/** SQLite's primary result codes and the system's names for the same. */
const STORE_CODES: Readonly<Record<string | number, StoreErrorCode>> = {
  13: 'disk_full',
  ENOSPC: 'disk_full',
  EDQUOT: 'disk_full',
  8: 'read_only',
  EROFS: 'read_only',
  EACCES: 'read_only',
  EPERM: 'read_only',
  11: 'corrupt',
  26: 'corrupt',
}

const STORE_ADVICE: Readonly<Record<StoreErrorCode, string>> = {
  store_failed: '',
  disk_full: '; make room on its disk, then go on',
  read_only: '; let this process write there, then go on',
  corrupt: '; end the pool and put a backup in its place (claude-agent-pool backup, docs/durability.md)',
  schema_newer: '',
}

/** The StoreError for what went wrong with `place`. One that is a StoreError already stays as it is. */
export function storeError(place: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause
  const { message, code, errcode } = cause as NodeJS.ErrnoException & { errcode?: number }
  // Extended result codes have the primary one in their lowest byte.
  const known = STORE_CODES[errcode === undefined ? (code ?? '') : errcode & 0xff] ?? 'store_failed'
  return new StoreError(`${place}: ${message}${STORE_ADVICE[known]}`, { cause, code: known })
}

/** What should be imported is no exported session, or not all of one. Nothing was imported. */
export class ArchiveError extends PoolError {
  constructor(problem: string, options?: ErrorOptions) {
    super('bad_archive', `the archive cannot be imported: ${problem}`, options)
  }
}

/** A query ended with a result that reports an error, which the query has given before: as the SDK's `query()` throws then. */
export class ErrorResultError extends PoolError {
  /** The result's `subtype`. */
  readonly subtype: string

  constructor(subtype: string, problem: string) {
    super('error_result', `Claude Code returned an error result: ${problem}`)
    this.subtype = subtype
  }
}

/** The query has ended or was closed: it takes no more prompts, and its process is no longer its own. */
export class QueryEndedError extends PoolError {
  constructor(message: string) {
    super('query_ended', message)
  }
}

/**
 * Why the pool does not work with a file. `link`, `special` (a FIFO, socket or device), `kind` (a file in place of a folder or
 * the reverse), `mount` (another file system): agents can make these, and the pool does not open them. `denied`: the rights are
 * missing, and could not be given back. `too_large`, `too_deep`, `too_many`, `too_long`, `too_slow`: beyond a bound.
 * `name`: the name is no text. `changed`: another process changed it meanwhile. `failed`: everything else.
 */
export type FileProblemReason =
  | 'link'
  | 'special'
  | 'kind'
  | 'mount'
  | 'denied'
  | 'too_large'
  | 'too_deep'
  | 'too_many'
  | 'too_long'
  | 'too_slow'
  | 'name'
  | 'changed'
  | 'failed'

/** A file that the pool left alone. */
export interface FileProblem {
  /** Relative to the folder of all tenants. Control characters are replaced, and long paths are cut. */
  path: string
  reason: FileProblemReason
  /** Why, in words that follow the path. */
  detail: string
}

/**
 * Files of a tenant are not as the pool needs them (`files_failed`), or could not all be removed (`files_left`: remove the cause, then
 * delete again). `problems` names up to 100 of them.
 */
export class FilesError extends PoolError {
  readonly problems: readonly FileProblem[]

  constructor(
    code: 'files_failed' | 'files_left',
    message: string,
    problems: readonly FileProblem[],
    options?: ErrorOptions,
  ) {
    super(code, message, options)
    this.problems = problems
  }
}

/** The pool is closed or closing: nothing new starts, and turns that ran were cut. */
export class PoolClosedError extends PoolError {
  /** True for a turn that was cut: its prompt may have run. */
  readonly duringTurn: boolean

  constructor(
    message = 'the pool is closed; create another one with createPool()',
    { duringTurn = false }: { duringTurn?: boolean } = {},
  ) {
    super('pool_closed', message)
    this.duringTurn = duringTurn
  }
}
