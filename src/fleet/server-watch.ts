import type { Clock } from '../clock.ts'
import type { McpServerStatus } from '../driver/driver.ts'
import type { Worker } from '../worker/worker.ts'
import type { Agent } from '../agents/agent.ts'
import type { ServerFailure } from '../events.ts'

/** After the time that a server may take, one that is still on its way is looked at again after this, so many times. */
const LOOK_AGAIN_MS = 5_000
const LOOKS = 10

/**
 * Records which MCP servers each process waits for, and reports the ones that do not come up. A process is not asked again
 * and again: its answers would count as signs of life of a turn that waits.
 */
export class ServerWatch {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #failed: (worker: Worker, failure: ServerFailure) => void
  readonly #told = new WeakMap<Worker, Set<string>>()

  constructor(
    { clock, timeoutMs }: { clock: Clock; timeoutMs: number },
    failed: (worker: Worker, failure: ServerFailure) => void,
  ) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#failed = failed
  }

  /** The process is ready, and its servers are on their way. One that is unbound has none yet. */
  async watch(worker: Worker, { processOptions }: Pick<Agent, 'processOptions'>): Promise<void> {
    const { mcpServers, plugins, strictMcpConfig } = processOptions
    const hasServers = mcpServers !== undefined || plugins !== undefined || strictMcpConfig === false
    if (!hasServers || worker.sdkSessionId === undefined) return
    await this.#look(worker)
    if (worker.pendingServers.length > 0) this.#lookAgain(worker, this.#timeoutMs, LOOKS)
  }

  /** Its first turn begins: each server has come up, or has failed. */
  settled(worker: Worker): void {
    if (worker.pendingServers.length > 0) void this.#look(worker)
  }

  #lookAgain(worker: Worker, afterMs: number, looks: number): void {
    this.#clock.after(afterMs, () => {
      if (worker.pendingServers.length === 0 || looks === 0) return
      void this.#look(worker)
      this.#lookAgain(worker, LOOK_AGAIN_MS, looks - 1)
    })
  }

  async #look(worker: Worker): Promise<void> {
    const servers = await statusOf(worker)
    worker.recordPendingServers(servers.filter(({ status }) => status === 'pending').map(({ name }) => name))
    const told = this.#told.get(worker) ?? new Set()
    this.#told.set(worker, told)
    for (const { name: server, status, error } of servers) {
      if ((status !== 'failed' && status !== 'needs-auth') || told.has(server)) continue
      told.add(server)
      this.#failed(worker, { server, status, error })
    }
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
