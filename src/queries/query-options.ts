import type { Options, ResumePoint } from '../driver/driver.ts'
import { ConfigError } from '../errors.ts'
import type { AgentOptions } from '../agents/agent.ts'

/** What `pool.query()` takes: the SDK's options, and what earlier versions of it had under another name. */
export interface QueryOptions extends Options {
  /** Text behind Claude Code's own system prompt, or behind `systemPrompt`. */
  appendSystemPrompt?: string
}

/** Which conversation a query is about. */
export type QueryStart =
  | { kind: 'new'; sessionId: string | undefined }
  /** `from`: the SDK's id of a session; undefined: the one used last in the query's directory. */
  | ({ kind: 'resume'; from: string | undefined; fork: boolean; sessionId: string | undefined } & ResumePoint)

/** The options of a query, sorted by the part that uses them. */
export interface QueryPlan {
  start: QueryStart
  /** What its processes are started with. */
  agent: AgentOptions
  cwd: string | undefined
  /** False: its session goes with the query. */
  persist: boolean
  signal: AbortSignal | undefined
  stderr: ((text: string) => void) | undefined
}

/** What the pool does itself, and where it is had instead. */
const REFUSED: Partial<Record<keyof Options, string>> = {
  sessionStore:
    "is the pool's: createPool({ transcripts: 'store' }) keeps copies of transcripts in its store; leave it out",
  spawnClaudeCodeProcess: 'would start processes that the pool could neither count nor end; leave it out',
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Sorts the options of a query. Throws ConfigError. Whether the agent's own are right is not known yet. */
export function readQueryOptions(options: QueryOptions): QueryPlan {
  // What is undefined was not given, as in the SDK.
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as QueryOptions
  for (const [name, why] of Object.entries(REFUSED)) if (name in given) throw new ConfigError(`options.${name}`, why)
  const {
    abortController,
    appendSystemPrompt,
    continue: goesOn = false,
    cwd,
    forkSession = false,
    // Without a sessionStore these say nothing.
    loadTimeoutMs: _load,
    sessionStoreFlush: _flush,
    persistSession = true,
    resume,
    resumeDropsTurn: dropsTurn,
    resumeSessionAt: at,
    sessionId,
    stderr,
    ...rest
  } = given
  if (sessionId !== undefined && !UUID.test(sessionId)) throw new ConfigError('options.sessionId', 'is not a UUID')
  if (stderr !== undefined && typeof stderr !== 'function') throw new ConfigError('options.stderr', 'is not a function')
  return {
    start: startOf({
      resumes: resume !== undefined || goesOn,
      from: resume,
      fork: forkSession,
      sessionId,
      at,
      dropsTurn,
    }),
    agent: { ...rest, ...promptOf(rest.systemPrompt, appendSystemPrompt) } as AgentOptions,
    cwd,
    persist: persistSession,
    signal: abortController?.signal,
    stderr,
  }
}

interface Given extends ResumePoint {
  resumes: boolean
  from: string | undefined
  fork: boolean
  sessionId: string | undefined
}

function startOf({ resumes, sessionId, ...resume }: Given): QueryStart {
  if (!resumes && resume.at !== undefined)
    throw new ConfigError('options.resumeSessionAt', 'says where to resume; name what in resume')
  if (!resumes) return { kind: 'new', sessionId }
  if (sessionId !== undefined && !resume.fork)
    throw new ConfigError(
      'options.sessionId',
      'names a new session; beside resume or continue it needs forkSession: true',
    )
  return { kind: 'resume', sessionId, ...resume }
}

/** As the SDK's guide of migration has it: what was appended went behind Claude Code's own prompt. */
function promptOf(prompt: Options['systemPrompt'], append: string | undefined): Pick<Options, 'systemPrompt'> {
  if (append === undefined) return {}
  if (typeof append !== 'string') throw new ConfigError('options.appendSystemPrompt', 'is not a text')
  if (prompt === undefined) return { systemPrompt: { type: 'preset', preset: 'claude_code', append } }
  if (typeof prompt === 'string') return { systemPrompt: `${prompt}\n\n${append}` }
  if (Array.isArray(prompt)) return { systemPrompt: [...prompt, append] }
  if (prompt.type === 'custom') return { systemPrompt: { ...prompt, prompt: [prompt.prompt, append].flat() } }
  return { systemPrompt: { ...prompt, append: prompt.append === undefined ? append : `${prompt.append}\n\n${append}` } }
}
