import { constants } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../../errors.ts'
import type { Logger, PoolOptions } from '../../index.ts'
import { ClientTools, Questions, createServer, currentRequest, jsonLog, listen } from '../../server/index.ts'
import type { Listening } from '../../server/index.ts'
import { API_FILE } from '../../store/data-dir.ts'
import { UPLOADS } from '../../tenant-folder.ts'
import { readDisk } from '../shared/machine-facts.ts'
import { EXIT } from '../shared/exit.ts'
import { openPool } from '../shared/open-pool.ts'
import type { OpenPool } from '../shared/open-pool.ts'
import { revealingParents } from '../shared/secrets.ts'
import { fromEnvironment, levelOf, readPlan } from '../shared/serve-plan.ts'
import type { ServeFlags, ServePlan } from '../shared/serve-plan.ts'
import { openIsolated } from '../shared/serve-isolation.ts'
import { PASSWORD_ON_COMMAND_LINE, showsPassword } from '../shared/store-flag.ts'
import { Reload } from './reload.ts'
import { readTracing, startTracing } from './tracing.ts'
import { announce, describePlan } from './words.ts'

/** The agents as a server wants them: clients see text as it comes, and are asked if `permissionMode` asks. */
function forServer(
  { agents, ...rest }: PoolOptions,
  logger: Logger,
  questions: Questions,
  clientTools: ClientTools | undefined,
): PoolOptions {
  const adapted = Object.entries(agents).map(([name, given]) => {
    const agent = questions.for({ includePartialMessages: true, ...given })
    return [name, clientTools?.for(agent) ?? agent]
  })
  return { logger, ...rest, agents: Object.fromEntries(adapted) as PoolOptions['agents'] }
}

/**
 * Serves until a signal, and resolves with the exit code; no process is left then. With
 * `--check` or `--migrate-only`: does that, and serves nothing.
 */
export async function serve(given: ServeFlags): Promise<number> {
  const flags = fromEnvironment(given)
  const logger = jsonLog(levelOf(flags.logLevel))
  using signals = new Signals(logger)
  const plan = await readPlan(flags)
  if (flags.check === true) return check(plan, flags)
  if (showsPassword(given)) logger.warn(PASSWORD_ON_COMMAND_LINE, {})
  if (flags.migrateOnly === true) {
    const { migrateOnly } = await import('./migrate.ts')
    await migrateOnly(plan, flags)
    return EXIT.done
  }
  const tracing = await startTracing(process.env, logger)
  try {
    return await host({ flags, logger, signals, plan })
  } finally {
    await tracing?.close()
  }
}

interface Start {
  flags: ServeFlags
  logger: Logger
  signals: Signals
  plan: ServePlan
}

async function host({ flags, logger, signals, plan }: Start): Promise<number> {
  // One for all definitions to come: an agent that did not change must not look as if it had.
  const questions = new Questions({ logger, deadlineMs: plan.answerWithinMs })
  const clientTools = plan.options.agUi?.clientTools === false ? undefined : new ClientTools(questions)
  await using opened = await openIsolated(
    plan.isolation,
    (isolation) =>
      openPool(flags, plan.config, (options) => forServer({ ...options, isolation }, logger, questions, clientTools)),
    logger,
  )
  const server = createServer(opened.pool, {
    ...plan.options,
    logger,
    questions,
    ...(clientTools === undefined ? {} : { clientTools }),
    // Hosts that share a database share these, too.
    ...(opened.pool.apiStore === undefined ? { resourceFile: join(plan.dataDir, API_FILE) } : {}),
    fileDir: join(plan.dataDir, UPLOADS),
    drain: () => signals.drain(),
    behindProxy: PROXIES.some((name) => (process.env[name] ?? '') !== ''),
  })
  opened.pool.on('host.drainAsked', () => signals.drain())
  const listening = await listen(server, {
    host: plan.host,
    port: plan.port,
    ...(plan.operations === undefined ? {} : { operations: plan.operations }),
  })
  const { isolation } = plan
  const reload = new Reload({ opened, server, logger, isolation, read: () => readPlan(flags, { fresh: true }) })
  signals.onHangUp(() => reload.again())
  if (plan.isolation.shared && plan.isolation.options.mode === 'none')
    logger.warn(
      'agents of all tenants have the rights of this user: isolation.mode is "none"; "bubblewrap" or "user" separates them, see docs/isolation.md',
      {},
    )
  for (const { pid, command, names } of revealingParents())
    logger.warn(
      'a process that started this one shows secrets in its environment, where agents can read them; give API keys by their hash in server.keys',
      { pid, command, names },
    )
  announce({ listening, server, opened }, flags.json === true)
  return await drainWhenAsked({ signals, listening, opened, logger, graceMs: plan.graceMs })
}

function check(plan: ServePlan, flags: ServeFlags): number {
  readTracing(process.env)
  const { path, writable } = readDisk(plan.dataDir)
  if (!writable) throw new ConfigError('dataDir', `${plan.dataDir} cannot be used: ${path} cannot be written to`)
  describePlan(plan, flags)
  return EXIT.done
}

/** Agents have these, too. */
const PROXIES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']

/** Hears signals from the beginning, so that one that comes while the server starts ends it in order. */
class Signals implements Disposable {
  readonly #logger: Logger
  readonly #cut = new AbortController()
  readonly #ending = Promise.withResolvers<void>()
  #ends = false
  #hungUp = false
  #onHangUp: (() => void) | undefined
  code: number = EXIT.done

  constructor(logger: Logger) {
    this.#logger = logger
    process.on('SIGTERM', this.#signalled).on('SIGINT', this.#signalled).on('SIGHUP', this.#hangUp)
    process.on('uncaughtException', this.#crashed).on('unhandledRejection', this.#crashed)
  }

  /** Resolves at the first signal to end. */
  get ending(): Promise<void> {
    return this.#ending.promise
  }

  /** The same as the first signal. */
  drain(): void {
    this.#ends = true
    this.#ending.resolve()
  }

  /** Aborted by the second one, or after this time. */
  cut(graceMs: number): AbortSignal {
    setTimeout(() => this.#cut.abort(), graceMs).unref()
    return this.#cut.signal
  }

  /** What SIGHUP does; one that has come before is not forgotten. */
  onHangUp(work: () => void): void {
    this.#onHangUp = work
    if (this.#hungUp) work()
  }

  [Symbol.dispose](): void {
    process.off('SIGTERM', this.#signalled).off('SIGINT', this.#signalled).off('SIGHUP', this.#hangUp)
    process.off('uncaughtException', this.#crashed).off('unhandledRejection', this.#crashed)
  }

  readonly #signalled = (signal: NodeJS.Signals): void => {
    if (this.#ends) {
      this.code = 128 + constants.signals[signal]
      this.#cut.abort()
    }
    this.drain()
  }

  readonly #crashed = (error: unknown): void => {
    const request = currentRequest()
    if (request !== undefined) {
      // What failed is this request's alone. Its client may get no answer, and the others are served.
      this.#logger.error('uncaught error of a request: the server goes on', { error, ...request })
      return
    }
    this.#logger.error('uncaught error: the server ends', { error })
    this.code = EXIT.failed
    this.#ends = true
    this.#cut.abort()
    this.#ending.resolve()
  }

  readonly #hangUp = (): void => {
    this.#hungUp = true
    this.#onHangUp?.()
  }
}

interface Running {
  signals: Signals
  listening: Listening
  opened: OpenPool
  logger: Logger
  graceMs: number
}

/** Lives until the first of the signals, then drains. */
async function drainWhenAsked({ signals, listening, opened, logger, graceMs }: Running): Promise<number> {
  await signals.ending
  logger.info('draining', { graceMs, ...opened.pool.stats().turns })
  await listening.drain(signals.cut(graceMs))
  logger.info('drained', { code: signals.code })
  return signals.code
}
