import type { Query } from '../driver/driver.ts'
import type { Worker } from '../worker/worker.ts'

/** The methods of a query that are answered by its process. The type makes them complete for the SDK of this release. */
export type ControlMethod = Exclude<keyof Query, keyof AsyncGenerator | 'close' | 'interrupt' | 'streamInput'>

/**
 * What becomes of each when another process takes over: `ask` and `start` change nothing; `last` is said again, the last time
 * for each of its first argument where that says what is meant. The SDK knows the answer to `start` since the process started.
 */
const METHODS: Record<ControlMethod, 'ask' | 'start' | 'last' | 'last of each'> = {
  accountInfo: 'start',
  applyFlagSettings: 'last',
  backgroundTasks: 'ask',
  getContextUsage: 'ask',
  initializationResult: 'start',
  mcpServerStatus: 'ask',
  readFile: 'ask',
  readMcpResource: 'ask',
  reconnectMcpServer: 'ask',
  reinitialize: 'ask',
  reloadOutputStyles: 'ask',
  reloadPlugins: 'last',
  reloadSkills: 'ask',
  rewindFiles: 'ask',
  seedReadState: 'last of each',
  setMaxThinkingTokens: 'last',
  setMcpPermissionModeOverride: 'last of each',
  setMcpServers: 'last',
  setModel: 'last',
  setPermissionMode: 'last',
  stopTask: 'ask',
  supportedAgents: 'start',
  supportedCommands: 'start',
  supportedModels: 'start',
  toggleMcpServer: 'last of each',
  updateSettings: 'ask',
  usage_EXPERIMENTAL_MAY_CHANGE_DO_NOT_RELY_ON_THIS_API_YET: 'ask',
}

export const isControl = (name: PropertyKey): name is ControlMethod => Object.hasOwn(METHODS, name)

/** Answered also when the process is gone, or serves another query. */
export const isOfStart = (name: ControlMethod): boolean => METHODS[name] === 'start'

interface Said {
  name: ControlMethod
  args: readonly unknown[]
}

/** What a query has told its process, so that another one can be told the same. */
export class QueryControls {
  readonly #said = new Map<string, Said>()

  /** True when a process that knows of this is no longer what its options say. */
  get any(): boolean {
    return this.#said.size > 0
  }

  async call(worker: Worker, name: ControlMethod, args: readonly unknown[]): Promise<unknown> {
    const result = await call(worker.process.query, name, args)
    this.#note(name, args, result)
    return result
  }

  /** Tells a process all that the one before it was told. */
  async repeat(worker: Worker): Promise<void> {
    for (const { name, args } of this.#said.values()) await call(worker.process.query, name, args)
  }

  #note(name: ControlMethod, args: readonly unknown[], result: unknown): void {
    if (METHODS[name] === 'ask' || METHODS[name] === 'start') return
    const key = METHODS[name] === 'last' ? name : `${name} ${String(args[0])}`
    const before = this.#said.get(key)?.args ?? []
    this.#said.delete(key)
    this.#said.set(key, { name, args: keptArgs(name, args, before, result) })
  }
}

/** With what it is said again. */
function keptArgs(
  name: ControlMethod,
  args: readonly unknown[],
  before: readonly unknown[],
  result: unknown,
): readonly unknown[] {
  // Each call adds to the settings of those before it.
  if (name === 'applyFlagSettings')
    return [{ ...(before[0] as object | undefined), ...(args[0] as object | undefined) }]
  // The mode in effect need not be the one that was asked for.
  if (name === 'setPermissionMode') return [(result as { mode?: unknown } | undefined)?.mode ?? args[0]]
  return args
}

function call(query: Query, name: ControlMethod, args: readonly unknown[]): Promise<unknown> {
  const method: unknown = Reflect.get(query, name)
  if (typeof method !== 'function') throw new TypeError(`query.${name} is not a function of this SDK`)
  return Reflect.apply(method, query, args) as Promise<unknown>
}
