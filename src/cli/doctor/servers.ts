import { EventEmitter, once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool } from '../../index.ts'
import type { AgentOptions, Pool, PoolOptions, Session } from '../../index.ts'
import { startSimulator } from '../../simulator/server.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'
import { oneLine } from '../shared/exit.ts'
import { onSimulatedModel } from '../shared/simulated-model.ts'
import { Unwinding } from '../../unwinding.ts'

/** What came of the MCP servers of all agents. */
export interface ServerFacts {
  /** Servers that answered. */
  connected: number
  /** Agents and their servers that did not, and why. */
  failed: readonly { agent: string; server: string; problem: string }[]
}

export function checkServers({ connected, failed }: ServerFacts): Finding {
  const { ok, error } = verdicts('MCP servers')
  if (failed.length === 0) return ok(connected === 1 ? '1 answers' : `${connected} answer`)
  const says = failed.map(({ agent, server, problem }) => `"${server}" of agent ${agent}: ${problem}`).join('; ')
  return error(
    says,
    'start it by hand as the config says; each process waits for it in its first turn, up to starts.mcpTimeout',
  )
}

const hasServers = ([, { mcpServers }]: [string, AgentOptions]): boolean => mcpServers !== undefined

/** `starts.mcpTimeout` bounds the wait for a server. This bounds it if that is longer, or its failure is never told. */
const PATIENCE_MS = 5 * 60_000
/** A server that is still on its way is looked at again after this. */
const LOOK_AGAIN_MS = 1_000

/** Starts the MCP servers of each agent as the pool would, on a simulated model. Undefined: no agent has any. */
export async function tryServers(options: PoolOptions): Promise<ServerFacts | undefined> {
  const agents = Object.entries(options.agents).filter(hasServers)
  if (agents.length === 0) return undefined
  await using unwinding = new Unwinding()
  const dataDir = await mkdtemp(join(tmpdir(), 'claude-agent-pool-'))
  unwinding.defer(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }))
  const simulator = unwinding.use(await startSimulator({ recordLimit: 0 }))
  const simulated = onSimulatedModel(
    { ...options, agents: Object.fromEntries(agents.map(withoutSpares)) },
    simulator.url,
  )
  const { starts, api, agents: alone } = simulated
  try {
    const parts = { agents: alone, dataDir, ...(api && { api }), ...(starts && { starts }) }
    const pool = unwinding.use(await createPool(parts))
    const facts = await Promise.all(agents.map(([name]) => serversOf(pool, name)))
    return {
      connected: facts.reduce((sum, { connected }) => sum + connected, 0),
      failed: facts.flatMap(({ failed }) => failed),
    }
  } catch (error) {
    return { connected: 0, failed: [failure(agents.map(([name]) => name).join(', '), error)] }
  }
}

const withoutSpares = ([name, agent]: [string, AgentOptions]): [string, AgentOptions] => [
  name,
  { ...agent, spares: { max: 0 }, unboundSpares: { max: 0 } },
]

const failure = (agent: string, error: unknown): ServerFacts['failed'][number] => ({
  agent,
  server: '(all)',
  problem: oneLine((error as Error).message),
})

/** Waits until each server has come up or has failed: the first turn begins before, if the machine is slow. */
async function serversOf(pool: Pool, agent: string): Promise<ServerFacts> {
  const problems = new Map<string, string>()
  const heard = new EventEmitter()
  pool.on('mcp.failed', ({ worker, server, status, error }) => {
    if (worker.agent !== agent) return
    problems.set(server, error ?? status)
    heard.emit('problem')
  })
  const patience = AbortSignal.timeout(PATIENCE_MS)
  try {
    const session = await pool.session('doctor', { agent, tenant: agent })
    for (;;) {
      const servers = await serversInTurn(session)
      const down = servers.filter(({ status }) => status !== 'connected')
      if (down.every(({ name }) => problems.has(name)) || patience.aborted)
        return {
          connected: servers.length - down.length,
          failed: down.map(({ name, status }) => ({
            agent,
            server: name,
            problem: oneLine(problems.get(name) ?? status),
          })),
        }
      const again = AbortSignal.any([patience, AbortSignal.timeout(LOOK_AGAIN_MS)])
      await once(heard, 'problem', { signal: again }).catch(() => undefined)
    }
  } catch (error) {
    return { connected: 0, failed: [failure(agent, error)] }
  }
}

/** The servers that a turn begins with. */
async function serversInTurn(session: Session): Promise<{ name: string; status: string }[]> {
  const servers: { name: string; status: string }[] = []
  for await (const message of session.send('hello'))
    if (message.type === 'system' && message.subtype === 'init') servers.push(...message.mcp_servers)
  return servers.filter(({ status }) => status !== 'disabled')
}
