import { z } from 'zod'
import { ConfigError } from './errors.ts'
import { parseDuration, parseSize } from './units.ts'

/**
 * How processes live beside their conversations. `adaptive`: kept while they are likely to be spoken to again and fit.
 * `hybrid`: kept until idle for a while. `ephemeral`: one for each turn. `long-running`: kept until others need the room.
 * `single`: one process for the whole pool.
 */
export type Pattern = 'adaptive' | 'ephemeral' | 'hybrid' | 'long-running' | 'single'

/** When an idle worker leaves. Its session stays: the next turn resumes. */
export interface ResidencyOptions {
  /** Says what the other options are by default. Default `"adaptive"`. */
  pattern?: Pattern
  /**
   * Idle for this long. `"none"`: never for idleness. Default `"30m"`, `"none"` for `long-running` and `single`. An
   * `adaptive` worker may leave earlier; where this is left out it may stay longer, once its agent's habits are known.
   */
  idleTtl?: string
  idleTtlMs?: number
  /** Older than this; each worker leaves up to a tenth earlier, so that they do not all go at once. Default `"6h"`. */
  maxAge?: string
  maxAgeMs?: number
  /** After this many turns; 1 hibernates after every turn. Default 200, and 1 for `ephemeral`. */
  maxTurnsPerWorker?: number | 'none'
  /** Using more private memory than this when idle. Default `"1GiB"`. */
  maxMemory?: string
  maxMemoryBytes?: number
  /** How long background tasks or open permission requests may keep a worker from leaving. Default `"4h"`. */
  pinLimit?: string
  pinLimitMs?: number
}

/** What bounds turns. Each has its error. */
export interface LimitOptions {
  /**
   * Memory for workers and host. Default `"auto"`: the container's limit, else the machine's memory; a lower value bounds the
   * pool further. `"none"`: memory bounds nothing, and the kernel ends whom it likes.
   */
  memory?: string
  memoryBytes?: number
  /** Turns at once. Default `"auto"`: as many as memory bears, which bounds a number, too. */
  turns?: number | 'auto'
  /** Turns at once of one tenant. Default `"auto"`: all, but beyond its even share it takes no place that another was refused. */
  turnsPerTenant?: number | 'auto'
  /** Processes at once, idle ones and spares included. Default `"auto"`: as many as memory bears. */
  workers?: number | 'auto'
  /** Private memory of one worker with all that it started; a turn that needs more is ended. Default `"none"`. */
  workerMemory?: string
  workerMemoryBytes?: number
  /** A whole turn. Default `"30m"`. */
  turnTime?: string
  turnTimeMs?: number
  /** A turn without a sign of life from its process. Default `"10m"`. */
  silence?: string
  silenceMs?: number
  /** Output of one turn that waits on disk for a reader that has stopped; beyond it the process is held back. Default `"1GiB"`. */
  spool?: string
  spoolBytes?: number
  /** The transcript of a conversation that is to be resumed; a larger one is refused (or begun anew, by `onStaleResume`). Default `"none"`. */
  transcript?: string
  transcriptBytes?: number
}

/** The limits of turns that an agent, or one turn, may have of its own. */
export type TurnLimitOptions = Pick<LimitOptions, 'turnTime' | 'turnTimeMs' | 'silence' | 'silenceMs'>

/** The limits that an agent may have of its own. */
export type AgentLimitOptions = TurnLimitOptions & Pick<LimitOptions, 'workerMemory' | 'workerMemoryBytes'>

/** What happens to a turn for which there is no room. */
export type AdmissionOptions =
  | { mode?: 'shed' }
  | {
      mode: 'wait'
      /** How long a turn may wait. Default `"2s"`. */
      timeout?: string
      timeoutMs?: number
      /** How many may wait. Default 100. */
      maxWaiting?: number
    }

/** How processes are started and ended. */
export interface StartOptions {
  /** Processes that start at the same time. Default: the number of cores. */
  concurrent?: number
  /** From the start of a process until it is ready. Default `"60s"`. */
  timeout?: string
  timeoutMs?: number
  /** From the end of its input until SIGTERM. Default `"2s"`. */
  eofGrace?: string
  eofGraceMs?: number
  /** From SIGTERM until SIGKILL. Default `"5s"`. */
  sigtermGrace?: string
  sigtermGraceMs?: number
}

/** What bounds sessions that nobody uses. Nothing is bounded unless it is said here. */
export interface RetentionRuleOptions {
  /** Unused for longer than this. */
  maxAge?: string
  maxAgeMs?: number
  /** So many sessions; those unused longest go. */
  maxSessions?: number
  /** So much for events, transcripts and workspaces together; those unused longest go. */
  maxSize?: string
  maxSizeBytes?: number
}

/** How long sessions and their events are kept. The rules hold for each tenant; default: for ever. */
export interface RetentionOptions extends RetentionRuleOptions {
  /** Rules in place of those above, for tenants by name. */
  tenants?: Readonly<Record<string, RetentionRuleOptions>>
  /** Rules beside those of the tenant, for each tenant's sessions of these agents. */
  agents?: Readonly<Record<string, RetentionRuleOptions>>
  /** Events of a session; older ones go. */
  maxEvents?: number
  /** Events of a session that are older. The last one always stays. */
  maxEventAge?: string
  maxEventAgeMs?: number
  /** What no session knows: transcripts, workspaces and the CLI's notes that are older than this. Default `"7d"`. */
  leftovers?: string
  leftoversMs?: number
  /** How often it is looked at. Default `"10m"`. */
  interval?: string
  intervalMs?: number
}

/** How many started processes wait for new conversations, for each agent and tenant. Demand moves it between the two. */
export interface SpareOptions {
  /** Always kept, for the default tenant and for tenants that are active. Default 0. */
  min?: number
  /** Never more. Default 2. */
  max?: number
}

/** How the agent's process reaches the model. Explicit values win over the host's environment. */
export interface ApiOptions {
  /** Default: `ANTHROPIC_BASE_URL` of the host, else the CLI's own. */
  baseUrl?: string
  /** Default: `ANTHROPIC_API_KEY` of the host. */
  key?: string
  /** A bearer token instead of a key. Default: `ANTHROPIC_AUTH_TOKEN` of the host. */
  authToken?: string
  /** A Claude Code OAuth token instead of a key. Default: `CLAUDE_CODE_OAUTH_TOKEN` of the host. */
  oauthToken?: string
  /** Default: what `CLAUDE_CODE_USE_BEDROCK`, `_VERTEX` or `_FOUNDRY` of the host say, else `anthropic`. */
  provider?: 'anthropic' | 'bedrock' | 'vertex' | 'foundry'
}

/** `residency`, resolved. */
export interface Residency {
  pattern: Pattern
  /** Who leaves follows from what sessions were seen to do; otherwise from the time of their last use alone. */
  learns: boolean
  idleTtlMs: number
  /** `idleTtlMs` holds only until the habits of a worker's agent are known. */
  outstaysTtl: boolean
  maxAgeMs: number
  maxTurnsPerWorker: number
  maxMemoryBytes: number
  pinLimitMs: number
}

/** `limits`, resolved. */
export interface Limits {
  memoryBytes: number | 'auto'
  turns: number | 'auto'
  turnsPerTenant: number | 'auto'
  workers: number | 'auto'
  workerMemoryBytes: number
  turnTimeMs: number
  silenceMs: number
  spoolBytes: number
  transcriptBytes: number
}

/** `admission`, resolved. */
export type Admission = { mode: 'shed' } | { mode: 'wait'; timeoutMs: number; maxWaiting: number }

/** `starts`, resolved. */
export interface Starts {
  concurrent: number | undefined
  timeoutMs: number
  eofGraceMs: number
  sigtermGraceMs: number
}

/** `spares`, resolved. */
export interface SpareBounds {
  min: number
  max: number
}

/** A rule of `retention`, resolved. */
export interface RetentionRule {
  maxAgeMs: number
  maxSessions: number
  maxSizeBytes: number
}

/** `retention`, resolved. */
export interface Retention extends RetentionRule {
  maxEvents: number
  maxEventAgeMs: number
  leftoversMs: number
  intervalMs: number
  tenants: Readonly<Record<string, RetentionRule>>
  agents: Readonly<Record<string, RetentionRule>>
}

type Field = (path: string, input: Record<string, unknown>) => number | string | undefined

interface FieldSpec {
  shape: Record<string, z.ZodType>
  read: Field
}

const NONE = 'none'

/** A quantity that is either a string with a unit or a number whose name carries the unit; never both. */
function quantity(
  name: string,
  suffix: 'Ms' | 'Bytes',
  parse: (path: string, text: string) => number,
  fallback: string,
  words: readonly string[] = [],
): FieldSpec {
  const numeric = `${name}${suffix}`
  return {
    shape: { [name]: z.string().optional(), [numeric]: z.number().optional() },
    read(path, input) {
      const text = input[name] as string | undefined
      const number = input[numeric] as number | undefined
      if (text !== undefined && number !== undefined) {
        throw new ConfigError(`${path}.${name}`, `is given twice, as ${name} and as ${numeric}; keep one`)
      }
      if (number !== undefined) return positive(`${path}.${numeric}`, number)
      const value = text ?? fallback
      if (!words.includes(value)) return parse(`${path}.${name}`, value)
      return value === NONE ? Infinity : value
    },
  }
}

const duration = (name: string, fallback: string, words?: readonly string[]): FieldSpec =>
  quantity(name, 'Ms', parseDuration, fallback, words)
const size = (name: string, fallback: string, words?: readonly string[]): FieldSpec =>
  quantity(name, 'Bytes', parseSize, fallback, words)

function positive(path: string, value: number): number {
  if (!Number.isFinite(value) || value <= 0) throw new ConfigError(path, `${value} is not a number above 0`)
  return value
}

/** Throws ConfigError for anything but a whole number of at least `least`. */
export function wholeNumber(path: string, value: unknown, least: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) {
    throw new ConfigError(path, `${String(value)} is not a whole number of at least ${least}`)
  }
  return value
}

function count(
  name: string,
  fallback: number | 'auto' | undefined,
  least = 1,
  words: readonly string[] = fallback === 'auto' ? ['auto'] : [],
): FieldSpec {
  const number = z.number()
  return {
    shape: { [name]: (words.length > 0 ? z.union([number, z.literal(words)]) : number).optional() },
    read(path, input) {
      const value = input[name] ?? fallback
      if (value === NONE) return Infinity
      if (value === fallback) return fallback
      if (value === 'auto') return value
      return wholeNumber(`${path}.${name}`, value, least)
    },
  }
}

/** Reads one section: unknown keys and wrong types are refused, defaults filled in, units resolved. */
function readSection<Resolved>(path: string, fields: Record<keyof Resolved, FieldSpec>, input: unknown): Resolved {
  const specs = Object.entries<FieldSpec>(fields)
  const schema = z.strictObject(Object.assign({}, ...specs.map(([, { shape }]) => shape)))
  const values = validate(path, schema, input ?? {}) as Record<string, unknown>
  return Object.freeze(Object.fromEntries(specs.map(([key, { read }]) => [key, read(path, values)]))) as Resolved
}

/** Validates with a schema, and turns its complaint into one ConfigError that names the place. */
export function validate<T>(path: string, schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const place = [path, ...(issue?.path ?? [])].filter((part) => part !== '').join('.')
  if (issue?.code === 'unrecognized_keys') {
    const known = schema instanceof z.ZodObject ? `; known are: ${Object.keys(schema.shape).join(', ')}` : ''
    throw new ConfigError(`${place === '' ? '' : `${place}.`}${issue.keys[0] ?? ''}`, `is not an option${known}`)
  }
  throw new ConfigError(place === '' ? 'options' : place, issue?.message ?? 'is not valid')
}

/** What a pattern sets, unless it is set explicitly. */
const PATTERNS: Record<Pattern, { idleTtl: string; maxTurnsPerWorker: number }> = {
  adaptive: { idleTtl: '30m', maxTurnsPerWorker: 200 },
  ephemeral: { idleTtl: '30m', maxTurnsPerWorker: 1 },
  hybrid: { idleTtl: '30m', maxTurnsPerWorker: 200 },
  'long-running': { idleTtl: NONE, maxTurnsPerWorker: 200 },
  single: { idleTtl: NONE, maxTurnsPerWorker: 200 },
}

const patternSchema = z.enum(Object.keys(PATTERNS) as [Pattern, ...Pattern[]], {
  error: ({ input }) => `${JSON.stringify(input)} is not one of: ${Object.keys(PATTERNS).join(', ')}`,
})

export function readResidency(input: ResidencyOptions | undefined, path = 'residency'): Residency {
  const { pattern: named, ...rest } = validate(path, z.looseObject({}), input ?? {}) as ResidencyOptions
  const pattern = validate(`${path}.pattern`, patternSchema.default('adaptive'), named)
  const preset = PATTERNS[pattern]
  const resolved = readSection<Omit<Residency, 'pattern' | 'learns' | 'outstaysTtl'>>(
    path,
    {
      idleTtlMs: duration('idleTtl', preset.idleTtl, [NONE]),
      maxAgeMs: duration('maxAge', '6h', [NONE]),
      maxTurnsPerWorker: count('maxTurnsPerWorker', preset.maxTurnsPerWorker, 1, [NONE]),
      maxMemoryBytes: size('maxMemory', '1GiB', [NONE]),
      pinLimitMs: duration('pinLimit', '4h'),
    },
    rest,
  )
  checkPattern(path, pattern, resolved.maxTurnsPerWorker)
  const learns = pattern === 'adaptive'
  const outstaysTtl = learns && rest.idleTtl === undefined && rest.idleTtlMs === undefined
  return Object.freeze({ pattern, learns, outstaysTtl, ...resolved })
}

function checkPattern(path: string, pattern: Pattern, maxTurnsPerWorker: number): void {
  const problem = (why: string): ConfigError => new ConfigError(`${path}.maxTurnsPerWorker`, why)
  if (pattern === 'ephemeral' && maxTurnsPerWorker !== 1) {
    throw problem(`contradicts the pattern ephemeral, a process for each turn; leave it out, or choose hybrid`)
  }
  if ((pattern === 'long-running' || pattern === 'single') && maxTurnsPerWorker === 1) {
    throw problem(`1 contradicts the pattern ${pattern}, whose processes stay; leave it out, or choose ephemeral`)
  }
}

/**
 * The residency of one agent: with a pattern of its own nothing of the pool's holds for it; without one, what it leaves
 * out is the pool's.
 */
export function readAgentResidency(path: string, input: ResidencyOptions, outer: ResidencyOptions = {}): Residency {
  if (input.pattern === 'single') {
    throw new ConfigError(`${path}.pattern`, 'single is a pattern of the whole pool; set it in residency.pattern')
  }
  if (input.pattern !== undefined) return readResidency(input, path)
  const stem = (key: string): string => key.replace(/(Ms|Bytes)$/, '')
  const own = new Set(Object.keys(input).map(stem))
  const inherited = Object.entries(outer).filter(([key]) => !own.has(stem(key)))
  return readResidency({ ...Object.fromEntries(inherited), ...input }, path)
}

/** The pattern `single` is a limit, too: of one process. */
export function limitsOf({ pattern }: Residency, limits: Limits): Limits {
  if (pattern !== 'single') return limits
  for (const name of ['workers', 'turns', 'turnsPerTenant'] as const) {
    if (limits[name] === 'auto' || limits[name] === 1) continue
    throw new ConfigError(
      `limits.${name}`,
      `${limits[name]} contradicts residency.pattern "single", which is one process`,
    )
  }
  return Object.freeze({ ...limits, workers: 1 })
}

export const readLimits = (input: LimitOptions | undefined): Limits =>
  readSection<Limits>(
    'limits',
    {
      memoryBytes: size('memory', 'auto', ['auto', NONE]),
      turns: count('turns', 'auto'),
      turnsPerTenant: count('turnsPerTenant', 'auto'),
      workers: count('workers', 'auto'),
      workerMemoryBytes: size('workerMemory', NONE, [NONE]),
      ...TURN_LIMITS,
      spoolBytes: size('spool', '1GiB'),
      transcriptBytes: size('transcript', NONE, [NONE]),
    },
    input,
  )

const TURN_LIMITS = {
  turnTimeMs: duration('turnTime', '30m', [NONE]),
  silenceMs: duration('silence', '10m', [NONE]),
}

/** The limits that an agent or a single turn sets itself: only those that were given. */
export function readTurnLimits(
  path: string,
  input: TurnLimitOptions | undefined,
): Partial<Pick<Limits, 'turnTimeMs' | 'silenceMs'>> {
  // Most turns set none; to build a schema for that would cost each of them a third of a millisecond.
  if (input === undefined) return {}
  const { turnTimeMs, silenceMs } = readSection<Pick<Limits, 'turnTimeMs' | 'silenceMs'>>(path, TURN_LIMITS, input)
  const { turnTime, turnTimeMs: turnTimeNumber, silence, silenceMs: silenceNumber } = input ?? {}
  return {
    ...(turnTime === undefined && turnTimeNumber === undefined ? {} : { turnTimeMs }),
    ...(silence === undefined && silenceNumber === undefined ? {} : { silenceMs }),
  }
}

const RETENTION_RULE = {
  maxAgeMs: duration('maxAge', NONE, [NONE]),
  maxSessions: count('maxSessions', Infinity),
  maxSizeBytes: size('maxSize', NONE, [NONE]),
}

export function readRetention(input: RetentionOptions | undefined): Retention {
  const { tenants = {}, agents = {}, ...own } = validate('retention', retentionShape, input ?? {}) as RetentionOptions
  const rules = (path: string, named: Readonly<Record<string, RetentionRuleOptions>>): Record<string, RetentionRule> =>
    Object.fromEntries(
      Object.entries(named).map(([name, rule]) => [
        name,
        readSection<RetentionRule>(`retention.${path}.${name}`, RETENTION_RULE, rule),
      ]),
    )
  const rest = readSection<Omit<Retention, 'tenants' | 'agents'>>(
    'retention',
    {
      ...RETENTION_RULE,
      maxEvents: count('maxEvents', Infinity),
      maxEventAgeMs: duration('maxEventAge', NONE, [NONE]),
      leftoversMs: duration('leftovers', '7d', [NONE]),
      intervalMs: duration('interval', '10m'),
    },
    own,
  )
  return Object.freeze({ ...rest, tenants: rules('tenants', tenants), agents: rules('agents', agents) })
}

const named = z.record(z.string(), z.record(z.string(), z.unknown())).optional()
const retentionShape = z.looseObject({ tenants: named, agents: named })

/** The limits of an agent, in two parts: those of its turns, and that of its workers. */
export function readAgentLimits(
  path: string,
  input: AgentLimitOptions | undefined,
): { turns: ReturnType<typeof readTurnLimits>; workerMemoryBytes: number | undefined } {
  const { workerMemory, workerMemoryBytes } = input ?? {}
  if (workerMemory === undefined && workerMemoryBytes === undefined) {
    return { turns: readTurnLimits(path, input), workerMemoryBytes: undefined }
  }
  const { workerMemory: _text, workerMemoryBytes: _number, ...turns } = input ?? {}
  const fields = { workerMemoryBytes: size('workerMemory', NONE, [NONE]) }
  const own = readSection<{ workerMemoryBytes: number }>(path, fields, { workerMemory, workerMemoryBytes })
  return { turns: readTurnLimits(path, turns), ...own }
}

export const readStarts = (input: StartOptions | undefined): Starts =>
  readSection<Starts>(
    'starts',
    {
      concurrent: count('concurrent', undefined),
      timeoutMs: duration('timeout', '60s'),
      eofGraceMs: duration('eofGrace', '2s'),
      sigtermGraceMs: duration('sigtermGrace', '5s'),
    },
    input,
  )

export function readSpares(path: string, input: SpareOptions | undefined): SpareBounds {
  const bounds = readSection<SpareBounds>(path, { min: count('min', 0, 0), max: count('max', undefined, 0) }, input)
  const max = bounds.max ?? Math.max(2, bounds.min)
  if (max < bounds.min) throw new ConfigError(`${path}.max`, `${max} is less than min (${bounds.min})`)
  return { min: bounds.min, max }
}

export function readAdmission(input: AdmissionOptions | undefined): Admission {
  const mode = input?.mode ?? 'shed'
  if (mode === 'shed') {
    validate('admission', z.strictObject({ mode: z.literal('shed').optional() }), input ?? {})
    return { mode }
  }
  if (mode !== 'wait') throw new ConfigError('admission.mode', `"${String(mode)}" is not one of: shed, wait`)
  const { mode: _, ...rest } = input as Extract<AdmissionOptions, { mode: 'wait' }>
  const fields = { timeoutMs: duration('timeout', '2s'), maxWaiting: count('maxWaiting', 100) }
  return { mode, ...readSection<{ timeoutMs: number; maxWaiting: number }>('admission', fields, rest) }
}

const apiSchema = z.strictObject({
  baseUrl: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }).optional(),
  key: credential().optional(),
  authToken: credential().optional(),
  oauthToken: credential().optional(),
  provider: z.enum(['anthropic', 'bedrock', 'vertex', 'foundry']).optional(),
})

function credential(): z.ZodType<string> {
  // Never show the value: it may be the real one with a newline at its end.
  return z.string().regex(/^[\x21-\x7e]+$/, 'is empty or has characters that no credential has (spaces, newlines?)')
}

export function readApi(input: ApiOptions | undefined): ApiOptions {
  const api = validate('api', apiSchema, input ?? {}) as ApiOptions
  const given = (['key', 'authToken', 'oauthToken'] as const).filter((name) => api[name] !== undefined)
  if (given.length > 1) throw new ConfigError(`api.${given[1]}`, `is given beside api.${given[0]}; keep one`)
  return Object.freeze(api)
}
