import { loadConfig } from '../../config/load.ts'
import { ConfigError } from '../../index.ts'
import type { AgentOptions, Pool, PoolCanUseTool, PoolOptions, Session } from '../../index.ts'
import { openPool } from '../shared/open-pool.ts'
import type { PoolFlags } from '../shared/open-pool.ts'
import { listenForStop } from '../shared/stop.ts'
import { Chat } from './chat.ts'
import { ChatInput } from './input.ts'
import { LocalConversation, findSession } from './local-conversation.ts'
import { ChatScreen } from './screen.ts'
import { toolWords } from './tool-words.ts'

/** The flags of `chat`. */
export interface ChatFlags extends PoolFlags {
  agent?: string
  session: string
  /** Default: `default`, or the caller's on a server. */
  tenant?: string
  server?: string
}

const DEFAULT_TENANT = 'default'

/** What a chat needs of its terminal. */
interface Terminal {
  input: ChatInput
  interactive: boolean
  stop: AbortSignal
  /** Hears of Ctrl-C and of the end. */
  begin: (chat: Chat) => Promise<number>
}

/** Talks until the input ends or the user leaves. Resolves with the exit code; no process is left then. */
export async function chat(flags: ChatFlags): Promise<number> {
  const interactive = process.stdin.isTTY && process.stdout.isTTY
  using stop = listenForStop(['SIGTERM', 'SIGHUP'])
  // Of the objects that are made below, each is needed by one that is made before it.
  const late: { chat?: Chat } = {}
  const interrupt = (): void => (late.chat === undefined ? process.exit(128 + 2) : late.chat.interrupt())
  const begin = (running: Chat): Promise<number> => {
    late.chat = running
    stop.signal.addEventListener('abort', () => running.leave(stop.signal.reason as number))
    if (stop.signal.aborted) running.leave(stop.signal.reason as number)
    return running.run()
  }
  process.on('SIGINT', interrupt)
  try {
    using input = new ChatInput(interactive, interrupt)
    const terminal = { input, interactive, stop: stop.signal, begin }
    return await (flags.server === undefined ? chatHere(flags, terminal) : chatThere(flags.server, flags, terminal))
  } finally {
    process.off('SIGINT', interrupt)
  }
}

/** With a pool of this process. */
async function chatHere(flags: ChatFlags, { input, interactive, begin }: Terminal): Promise<number> {
  const ask: PoolCanUseTool = async (tool, call, { signal }) => {
    const allowed = await input.confirm(`Allow ${toolWords(tool, call)}? [y/N] `, signal)
    return allowed ? { behavior: 'allow', updatedInput: call } : { behavior: 'deny', message: 'The user said no.' }
  }
  const config = await loadConfig(flags.config, process.cwd())
  await using opened = await openPool(flags, config, (options, { file }) =>
    forChat(options, file === undefined, interactive ? ask : undefined),
  )
  const { pool, options, simulatedBecause } = opened
  const { tenant = DEFAULT_TENANT } = flags
  const session = await openSession(pool, options, { ...flags, tenant })
  const screen = new ChatScreen({ interactive, showsCost: simulatedBecause === undefined })
  if (simulatedBecause === 'no credential')
    screen.note('There is no API key (ANTHROPIC_API_KEY), so a simulated model answers.')
  else if (simulatedBecause === 'asked') screen.note('A simulated model answers.')
  pool.on('warning', ({ message }) => screen.note(`· ${message}`))
  pool.on('session.restarted', () => screen.note('· the transcript was gone; the conversation begins anew'))
  const conversation = new LocalConversation({ pool, session, tenant, screen, interactive })
  return await begin(new Chat({ conversation, input, screen, interactive }))
}

/** Flags that say what a pool of this process does. */
const OWN_POOL = { tenant: '--tenant', dataDir: '--data-dir', config: '--config', simulate: '--simulate' } as const

/** With a server that runs. */
async function chatThere(
  address: string,
  flags: ChatFlags,
  { input, interactive, stop, begin }: Terminal,
): Promise<number> {
  for (const [flag, written] of Object.entries(OWN_POOL))
    if (flags[flag as keyof typeof OWN_POOL] !== undefined)
      throw new ConfigError(written, 'is for a pool of this process; with --server the server decides')
  const { KEY_VARIABLE, ServerClient, readServer } = await import('../shared/server-client.ts')
  const { ServerConversation } = await import('./server-conversation.ts')
  const client = new ServerClient(readServer(address), process.env[KEY_VARIABLE])
  const screen = new ChatScreen({ interactive, showsCost: false })
  const agent = flags.agent ?? onlyOne(await client.agents(stop))
  const conversation = new ServerConversation({ client, agent, session: flags.session, input, screen, interactive })
  return begin(new Chat({ conversation, input, screen, interactive }))
}

function onlyOne(names: readonly string[]): string {
  const [only, ...others] = names
  if (only !== undefined && others.length === 0) return only
  throw new ConfigError('--agent', `is needed; the server has: ${names.join(', ')}`)
}

/**
 * The agents as a chat wants them: text as it comes, no spares for others, and questions if a user can answer. The
 * agent that there is without a config asks; one that was configured asks if its `permissionMode` is `default`.
 */
function forChat({ agents, ...rest }: PoolOptions, isDefault: boolean, ask: PoolCanUseTool | undefined): PoolOptions {
  const asks = ({ permissionMode, canUseTool }: AgentOptions): boolean =>
    canUseTool === undefined && (permissionMode === 'default' || isDefault)
  const adapt = (agent: AgentOptions): AgentOptions => ({
    ...agent,
    includePartialMessages: true,
    spares: { max: 0 },
    unboundSpares: { max: 0 },
    ...(ask !== undefined && asks(agent) ? { canUseTool: ask } : {}),
  })
  return { ...rest, agents: Object.fromEntries(Object.entries(agents).map(([name, agent]) => [name, adapt(agent)])) }
}

async function openSession(
  pool: Pool,
  { agents }: PoolOptions,
  { agent, session: key, tenant }: ChatFlags & { tenant: string },
): Promise<Session> {
  if (agent !== undefined) return pool.session(key, { agent, tenant })
  const names = Object.keys(agents)
  const known = await findSession(pool, key, tenant)
  if (known !== undefined) {
    if (names.includes(known.agent)) return known
    throw new ConfigError(
      '--session',
      `the agent "${known.agent}" of "${key}" is not in the config; it has: ${names.join(', ')}`,
    )
  }
  const [only, ...others] = names
  if (only === undefined || others.length > 0)
    throw new ConfigError('--agent', `is needed to begin a conversation; the config has: ${names.join(', ')}`)
  return pool.session(key, { agent: only, tenant })
}
