import { constants } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'
import { DEFAULT_DATA_DIR } from '../index.ts'
import type { Logger, PoolOptions } from '../index.ts'
import {
  LOG_LEVELS,
  Questions,
  createServer,
  currentRequest,
  hashKey,
  jsonLog,
  listen,
  parseKeyList,
  readServerConfig,
} from '../server/index.ts'
import type { Listening, LogLevel, Server, ServerConfig, ServerOptions } from '../server/index.ts'
import { parseDuration } from '../units.ts'
import { EXIT } from './exit.ts'
import { openPool } from './open-pool.ts'
import type { OpenPool, PoolFlags } from './open-pool.ts'
import { revealingParents } from './secrets.ts'
import { announce } from './serve-words.ts'

/** The flags of `serve`. */
export interface ServeFlags extends PoolFlags {
  host?: string
  port?: string
  logLevel?: string
  json?: true
}

const KEYS_VARIABLE = 'CLAUDE_AGENT_POOL_API_KEYS'

const DEFAULT_GRACE = '30s'

/** Beside the pool's own store. */
const RESOURCE_FILE = 'api.sqlite'

/** A flag, else what the environment says in its place. */
function fromEnvironment(flags: ServeFlags): ServeFlags {
  const given: Record<string, string> = {}
  for (const [flag, variable] of Object.entries({
    config: 'CONFIG',
    host: 'HOST',
    port: 'PORT',
    dataDir: 'DATA_DIR',
    logLevel: 'LOG_LEVEL',
  })) {
    const value = process.env[`CLAUDE_AGENT_POOL_${variable}`] ?? ''
    if (value !== '') given[flag] = value
  }
  return { ...given, ...flags }
}

function levelOf(text: string | undefined): LogLevel {
  const level = text ?? (process.stderr.isTTY ? 'warn' : 'info')
  const known = LOG_LEVELS.find((name) => name === level)
  if (known === undefined) throw new ConfigError('--log-level', `"${level}" is not one of: ${LOG_LEVELS.join(', ')}`)
  return known
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65_535))
    throw new ConfigError('--port', `"${text}" is not a port; give a number from 0 (any free one) to 65535`)
  return port
}

/** The keys of config and environment together. */
function keysOf({ keys = [], jwt }: ServerConfig): Pick<ServerOptions, 'keys' | 'jwt'> {
  const text = process.env[KEYS_VARIABLE] ?? ''
  const more = text === '' ? [] : parseKeyList(KEYS_VARIABLE, text, hashKey)
  return { keys: [...keys, ...more], ...(jwt === undefined ? {} : { jwt }) }
}

/** The agents as a server wants them: clients see text as it comes, and are asked where `permissionMode` asks somebody. */
function forServer({ agents, ...rest }: PoolOptions, logger: Logger, questions: Questions): PoolOptions {
  const adapted = Object.entries(agents).map(([name, agent]) => [
    name,
    questions.for({ includePartialMessages: true, ...agent }),
  ])
  return { logger, ...rest, agents: Object.fromEntries(adapted) as PoolOptions['agents'] }
}

/** Serves until a signal, and resolves with the exit code; no process is left then. */
export async function serve(given: ServeFlags): Promise<number> {
  const flags = fromEnvironment(given)
  const logger = jsonLog(levelOf(flags.logLevel))
  const port = flags.port === undefined ? undefined : portOf(flags.port)
  let config: ServerConfig = {}
  let questions: Questions | undefined
  await using opened = await openPool(flags, (options, { server }) => {
    config = readServerConfig(server)
    // One for all definitions to come: an agent that did not change must not look as if it had.
    questions ??= new Questions({
      logger,
      deadlineMs: parseDuration('server.answerWithin', config.answerWithin ?? '10m'),
    })
    return forServer(options, logger, questions)
  })
  const { host: _host, port: _port, grace = DEFAULT_GRACE, answerWithin: _, ...options } = config
  const server = createServer(opened.pool, {
    ...options,
    ...keysOf(config),
    logger,
    resourceFile: join(opened.options.dataDir ?? DEFAULT_DATA_DIR, RESOURCE_FILE),
    ...(questions === undefined ? {} : { questions }),
  })
  const place = { host: flags.host ?? config.host ?? '127.0.0.1', port: port ?? config.port ?? 8080 }
  const listening = await listen(server, place)
  for (const { pid, command, names } of revealingParents())
    logger.warn(
      'a process that started this one shows secrets in its environment, where agents can read them; give API keys by their hash in server.keys',
      { pid, command, names },
    )
  announce({ listening, server, opened }, flags.json === true)
  return await run({
    listening,
    server,
    opened,
    logger,
    graceMs: parseDuration('server.grace', grace),
    config: () => config,
  })
}

interface Running {
  listening: Listening
  server: Server
  opened: OpenPool
  logger: Logger
  graceMs: number
  /** As it was read last. */
  config: () => ServerConfig
}

/** Lives until the first of the signals, then drains. */
async function run({ listening, server, opened, logger, graceMs, config }: Running): Promise<number> {
  const cut = new AbortController()
  const ending = Promise.withResolvers<void>()
  let code: number = EXIT.done
  let ends = false
  const signalled = (signal: NodeJS.Signals): void => {
    if (ends) {
      code = 128 + constants.signals[signal]
      cut.abort()
    }
    ends = true
    ending.resolve()
  }
  const crashed = (error: unknown): void => {
    const request = currentRequest()
    if (request !== undefined) {
      // What failed is this request's alone. Its client may wait in vain, and the others are served.
      logger.error('uncaught error of a request: the server goes on', { error, ...request })
      return
    }
    logger.error('uncaught error: the server ends', { error })
    code = EXIT.failed
    ends = true
    cut.abort()
    ending.resolve()
  }
  const reread = (): void => {
    opened
      .reread()
      .then(() => {
        server.updateKeys(keysOf(config()))
        logger.info('config read again', { agents: opened.pool.agents })
      })
      .catch((error: unknown) => logger.error('the config was not read again; all stays as it was', { error }))
  }
  process.on('SIGTERM', signalled).on('SIGINT', signalled).on('SIGHUP', reread)
  process.on('uncaughtException', crashed).on('unhandledRejection', crashed)
  try {
    await ending.promise
    logger.info('draining', { graceMs, ...opened.pool.stats().turns })
    const timer = setTimeout(() => cut.abort(), graceMs)
    await listening.drain(cut.signal)
    clearTimeout(timer)
    logger.info('drained', { code })
    return code
  } finally {
    process.off('SIGTERM', signalled).off('SIGINT', signalled).off('SIGHUP', reread)
    process.off('uncaughtException', crashed).off('unhandledRejection', crashed)
  }
}
