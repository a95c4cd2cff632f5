import type { Clock } from '../clock.ts'
import type { McpServerStatus } from '../driver/driver.ts'
import type { Worker } from '../worker/worker.ts'
import type { Agent } from './agent.ts'

/** Between two looks at servers that still start. */
const LOOK_MS = 500

/** A server that a process goes without. */
export interface ServerFailure {
  server: string
  status: 'failed' | 'needs-auth'
  /** In the words of the CLI, where it has any. */
  error: string | undefined
}

/** Notes of each process which MCP servers it waits for, and tells of those that do not come up. */
export class ServerWatch {
  readonly #clock: Clock
  readonly #failed: (worker: Worker, failure: ServerFailure) => void

  constructor(clock: Clock, failed: (worker: Worker, failure: ServerFailure) => void) {
    this.#clock = clock
    this.#failed = failed
  }

  /** Looks until none of the process's servers is on its way any more. One that is parked has none yet. */
  watch(worker: Worker, { processOptions }: Pick<Agent, 'processOptions'>): void {
    const { mcpServers, plugins, strictMcpConfig } = processOptions
    const hasServers = mcpServers !== undefined || plugins !== undefined || strictMcpConfig === false
    if (hasServers && worker.sdkSessionId !== undefined) void this.#look(worker, new Set())
  }

  async #look(worker: Worker, told: Set<string>): Promise<void> {
    const servers = await statusOf(worker)
    worker.pendingServers = servers.filter(({ status }) => status === 'pending').map(({ name }) => name)
    for (const { name: server, status, error } of servers) {
      if ((status !== 'failed' && status !== 'needs-auth') || told.has(server)) continue
      told.add(server)
      this.#failed(worker, { server, status, error })
    }
    if (worker.pendingServers.length > 0) this.#clock.after(LOOK_MS, () => void this.#look(worker, told))
  }
}

/** Nothing, of a process that does not answer any more: what became of it is told elsewhere. */
async function statusOf({ process }: Worker): Promise<McpServerStatus[]> {
  try {
    return process.alive ? await process.query.mcpServerStatus() : []
  } catch {
    return []
  }
}
