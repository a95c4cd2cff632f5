import { CapacityError, PoolClosedError, PoolError, StartError } from '../errors.ts'
import type { PoolErrorCode } from '../errors.ts'

/** The kinds of error that Anthropic's API knows, and the status of each. */
const STATUS = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  memory_path_conflict_error: 409,
  memory_precondition_failed_error: 409,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
} as const

/** The `type` of an error on the wire. */
export type ApiErrorType = keyof typeof STATUS

/** What an answer that is an error carries beside its type and message. */
interface ApiErrorFacts {
  /** Where it differs from that of the type. */
  status?: number
  headers?: Readonly<Record<string, string>>
  /** True: something of the request was done all the same. */
  happened?: boolean
  /** What the error has beside its type and message. */
  details?: Readonly<Record<string, string>>
  cause?: unknown
}

/** A request cannot be served. `type`, `message` and `status` go to the client as they are. */
export class ApiError extends Error {
  readonly type: ApiErrorType
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly happened: boolean
  readonly #details: Readonly<Record<string, string>>

  constructor(type: ApiErrorType, message: string, facts: ApiErrorFacts = {}) {
    const { status, headers = {}, happened = false, details = {}, cause } = facts
    super(message, cause === undefined ? {} : { cause })
    this.name = 'ApiError'
    this.type = type
    this.status = status ?? STATUS[type]
    this.headers = headers
    this.happened = happened
    this.#details = details
  }

  /** The body of the answer. */
  body(requestId: string): { type: 'error'; error: { type: ApiErrorType; message: string }; request_id: string } {
    return { type: 'error', error: { type: this.type, message: this.message, ...this.#details }, request_id: requestId }
  }
}

/** How the wire says what the pool says. `instead`: what the client is told, where the pool speaks to programs or operators. */
interface Translation {
  type: ApiErrorType
  status?: number
  /** False: a retry of the official clients cannot succeed. */
  retry?: false
  instead?: string
}

const DIED =
  'the agent process ended during the turn; the prompt may have run, and the session goes on with the next one'

const TOO_LARGE =
  'the agent process and its tools used too much memory and were ended; the prompt may have run, and the session goes on with the next one'

const CLOSING =
  'the server is closing and takes nothing new; nothing was sent: try again at another server, or at this one later'

const FENCED =
  'another server has taken the session over; the prompt may have run here, and the session goes on with the next one'

const ELSEWHERE =
  'another server has this session now; nothing was sent: try again at that one, or here when it has given the session back'

const BUSY = 'a turn of this session runs, or too many wait already; nothing was sent: try again when it has ended'

const STORE: Translation = { type: 'api_error', instead: 'the server could not read or write its store' }

const FILES: Translation = {
  type: 'api_error',
  instead: 'the server could not work with all files of this session; its log names them',
}

/** Exhaustive, so that a new code does not compile without its place on the wire. */
const TRANSLATIONS: Readonly<Record<PoolErrorCode, Translation>> = {
  capacity: { type: 'rate_limit_error' },
  pool_closed: { type: 'overloaded_error', instead: CLOSING },
  session_busy: { type: 'invalid_request_error', status: 409, retry: false, instead: BUSY },
  session_conflict: { type: 'invalid_request_error', status: 409, retry: false },
  session_deleted: { type: 'not_found_error', instead: 'the session was deleted' },
  session_not_found: { type: 'not_found_error' },
  invalid_config: { type: 'invalid_request_error' },
  turn_interrupted: { type: 'invalid_request_error', status: 409, retry: false },
  turn_timeout: { type: 'timeout_error', retry: false },
  resume_failed: { type: 'api_error', retry: false },
  // What a process wrote before its end, and what the host is set up with, are the operator's.
  worker_exited: { type: 'api_error', retry: false, instead: DIED },
  worker_memory: { type: 'api_error', retry: false, instead: TOO_LARGE },
  start_failed: { type: 'api_error', instead: 'the agent process could not be started; nothing was sent' },
  start_refused: { type: 'api_error', instead: 'the agent process refused to start; nothing was sent' },
  budget_reached: { type: 'billing_error', retry: false },
  api_authentication: { type: 'api_error', retry: false, instead: 'the server has no valid credential for the model' },
  session_elsewhere: { type: 'overloaded_error', status: 421, instead: ELSEWHERE },
  fenced: { type: 'overloaded_error', retry: false, instead: FENCED },
  host_running: { type: 'api_error', instead: 'the server is not the host of its data' },
  store_failed: STORE,
  disk_full: STORE,
  read_only: STORE,
  corrupt: STORE,
  schema_newer: STORE,
  files_failed: FILES,
  files_left: FILES,
  bad_archive: { type: 'invalid_request_error', retry: false },
  unsupported_node: { type: 'api_error' },
  // Queries are not on the wire.
  error_result: { type: 'api_error', retry: false },
  query_ended: { type: 'api_error', retry: false },
}

const NO_RETRY = { 'x-should-retry': 'false' }

/** Any failure as the client sees it. Details for the operator alone are left out. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof CapacityError) {
    const { reason, retryAfterMs, message } = error
    const said = reason === 'suspended' ? 'the server takes no turns for now; try again later' : message
    return new ApiError('rate_limit_error', said, { headers: retryAfter(retryAfterMs), cause: error })
  }
  // The prompt may have run: trying again by itself could run it twice.
  if (error instanceof PoolClosedError && error.duringTurn)
    return new ApiError('overloaded_error', error.message, { headers: NO_RETRY, cause: error })
  if (error instanceof StartError && error.phase === 'isolation')
    return new ApiError('invalid_request_error', cannotBeConfined(error), { headers: NO_RETRY, cause: error })
  if (!(error instanceof PoolError)) {
    return new ApiError('api_error', 'something went wrong in the server; its log has the details', { cause: error })
  }
  const { type, status, retry, instead } = TRANSLATIONS[error.code]
  return new ApiError(type, instead ?? error.message, {
    ...(status === undefined ? {} : { status }),
    ...(retry === false ? { headers: NO_RETRY } : {}),
    cause: error,
  })
}

/** Names the MCP server. The paths that it needs are the operator's. */
function cannotBeConfined({ message }: StartError): string {
  const server = /\bthe MCP server "([^"]+)"/.exec(message)?.[1]
  const what = server === undefined ? 'this agent cannot run' : `the MCP server "${server}" of this agent cannot run`
  return `${what} in the sandbox of this server; the log of the server says why; nothing was sent`
}

/** Clients that were told the same moment would come back as one: each is told up to half as long again. */
const JITTER = 0.5

/** Says when to try again, in both ways that clients read: after `ms` at the earliest. */
export function retryAfter(ms: number): Record<string, string> {
  const told = Math.max(1, Math.ceil(ms * (1 + JITTER * Math.random())))
  return { 'retry-after': String(Math.ceil(told / 1000)), 'retry-after-ms': String(told) }
}
