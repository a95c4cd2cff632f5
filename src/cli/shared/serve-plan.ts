import { resolve } from 'node:path'
import { blame, loadConfig } from '../../config/load.ts'
import type { Config } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import { DEFAULT_DATA_DIR, checkPoolOptions } from '../../index.ts'
import type { PoolOptions } from '../../index.ts'
import {
  LOG_LEVELS,
  checkExposure,
  checkOperationsExposure,
  hashKey,
  parseKeyList,
  parseOperatorKeys,
  readConnectionLimits,
  readServerConfig,
  readServerOptions,
} from '../../server/index.ts'
import type { LogLevel, OperationsOptions, ServerConfig, ServerOptions } from '../../server/index.ts'
import { isStore, readPostgres } from '../../options/store.ts'
import type { PostgresAddress } from '../../options/store.ts'
import { parseDuration } from '../../units.ts'
import type { PoolFlags } from './open-pool.ts'
import { servedIsolation } from './serve-isolation.ts'
import type { ServedIsolation } from './serve-isolation.ts'
import { withStore } from './store-flag.ts'
import { VAULT_KEYS, withVaultKeys } from './vault-key-sources.ts'
import { WEBHOOK_SECRETS, withWebhookSecrets } from './webhook-secrets.ts'

/** The flags of `serve`. */
export interface ServeFlags extends PoolFlags {
  host?: string
  port?: string
  logLevel?: string
  check?: true
  migrateOnly?: true
  json?: true
}

/** What `serve` does with a config: all of it is checked. */
export interface ServePlan {
  readonly config: Config
  readonly host: string
  readonly port: number
  readonly operations: OperationsOptions | undefined
  readonly isolation: ServedIsolation
  /** Absolute. */
  readonly dataDir: string
  /** The database that keeps the sessions; undefined: they are in the data directory. */
  readonly database: PostgresAddress | undefined
  /** Of `createServer()`, the keys of the environment included. */
  readonly options: ServerOptions
  readonly graceMs: number
  readonly answerWithinMs: number
}

const KEYS_VARIABLE = 'CLAUDE_AGENT_POOL_API_KEYS'

const OPERATORS_VARIABLE = 'CLAUDE_AGENT_POOL_OPERATOR_KEYS'

/** A flag, else what the environment says in its place. */
export function fromEnvironment(flags: ServeFlags): ServeFlags {
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

export function levelOf(text: string | undefined): LogLevel {
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
function keysOf({ keys = [], operators = [] }: ServerConfig): Pick<ServerOptions, 'keys' | 'operators'> {
  const [text = '', operatorText = ''] = [process.env[KEYS_VARIABLE], process.env[OPERATORS_VARIABLE]]
  return {
    keys: [...keys, ...(text === '' ? [] : parseKeyList(KEYS_VARIABLE, text, hashKey))],
    operators: [
      ...operators,
      ...(operatorText === '' ? [] : parseOperatorKeys(OPERATORS_VARIABLE, operatorText, hashKey)),
    ],
  }
}

/** Checks all that `serve` needs to know, and opens nothing. Throws ConfigError that names the file. */
export function planOf(flags: ServeFlags, config: Config): ServePlan {
  try {
    const given = readServerConfig(config.server)
    const { host = '127.0.0.1', port = 8080, grace = '30s', answerWithin = '10m', operations, ...rest } = given
    // checkPoolOptions() checks what this type only claims.
    const pool = {
      ...withStore(config.options, flags),
      ...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
    } as PoolOptions
    checkPoolOptions(pool)
    const secrets = { file: config.file, text: process.env[WEBHOOK_SECRETS] ?? '' }
    const keys = { file: config.file, text: process.env[VAULT_KEYS] ?? '' }
    const managedAgents = withVaultKeys(withWebhookSecrets(given.managedAgents ?? {}, secrets), keys)
    const options = readServerOptions({ ...rest, ...keysOf(given), managedAgents }, Object.keys(pool.agents))
    const isolation = servedIsolation(pool, options)
    checkPoolOptions({ ...pool, isolation: isolation.options })
    readConnectionLimits(options.connections)
    const plan = {
      config,
      host: flags.host ?? host,
      port: flags.port === undefined ? port : portOf(flags.port),
      operations,
      isolation,
      dataDir: resolve(pool.dataDir ?? DEFAULT_DATA_DIR),
      database: pool.store === undefined || isStore(pool.store) ? undefined : readPostgres(pool.store),
      options,
      graceMs: parseDuration('server.grace', grace),
      answerWithinMs: parseDuration('server.answerWithin', answerWithin),
    }
    checkExposure(plan.host, (options.keys ?? []).length === 0 && options.jwt === undefined)
    if (operations !== undefined) checkOperationsExposure(operations, (options.operators ?? []).length > 0)
    return plan
  } catch (error) {
    throw blame(config, error)
  }
}

/** Reads the config as `serve` does. Throws ConfigError. */
export async function readPlan(flags: ServeFlags, { fresh = false }: { fresh?: boolean } = {}): Promise<ServePlan> {
  return planOf(flags, await loadConfig(flags.config, process.cwd(), { fresh }))
}
