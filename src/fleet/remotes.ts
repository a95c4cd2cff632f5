import type { Agent } from '../agents/agent.ts'
import { aroundProxies, reached, remoteVariables } from '../agents/remotes.ts'
import type { Options, StartSpec } from '../driver/driver.ts'
import { StartError } from '../errors.ts'
import type { Remote } from '../options/remotes.ts'
import type { Credentials } from './credentials.ts'

type Lists = readonly (readonly string[])[]

/** The lists of a process that has a way out of its sandbox: to a listed place, or to a remote. */
export function wayOut(lists: Lists | undefined, remotes: readonly Remote[]): Lists | undefined {
  if (lists === undefined || lists.length === 0) return undefined
  return remotes.length > 0 || lists.every((list) => list.length > 0) ? lists : undefined
}

interface Started {
  agent: Agent
  options: Options
  /** MCP servers of the options that are remotes, by name. */
  servers: ReadonlyMap<string, Remote>
  env: Record<string, string>
  granted: ReturnType<Credentials['grant']> | undefined
}

/** What a process is started with: its remotes at local addresses, and nothing of their credentials. */
export function startedWith({
  agent,
  options,
  servers,
  env,
  granted,
}: Started): Pick<StartSpec, 'options' | 'env' | 'lateEnv' | 'lateOptions' | 'prepared'> {
  const access = granted?.remotes
  const prepared = granted === undefined ? {} : { prepared: granted.ready }
  if (access === undefined) {
    if (agent.remotes.length > 0) return { options, env, prepared: noProxy(agent.name) }
    return { options, env, ...prepared, ...(granted?.lateEnv === undefined ? {} : { lateEnv: granted.lateEnv }) }
  }
  const lateEnv = Promise.all([access, granted?.lateEnv]).then(([at, late]) => {
    const whole = { ...env, ...late }
    return { ...late, ...remoteVariables(agent.remotes, at, whole), ...aroundProxies(whole) }
  })
  lateEnv.catch(() => undefined)
  if (servers.size === 0) return { options, env, lateEnv, ...prepared }
  const { mcpServers = {}, ...rest } = options
  const direct = Object.fromEntries(Object.entries(mcpServers).filter(([name]) => !servers.has(name)))
  const lateOptions = access.then((at): Options => ({ mcpServers: { ...reached(mcpServers, servers, at) } }))
  lateOptions.catch(() => undefined)
  return { options: { ...rest, mcpServers: direct }, env, lateEnv, lateOptions, ...prepared }
}

function noProxy(agent: string): Promise<never> {
  const failed = Promise.reject(
    new StartError('spawn', `agents.${agent}.remotes need the credential proxy, which this pool does not have`),
  )
  failed.catch(() => undefined)
  return failed
}
