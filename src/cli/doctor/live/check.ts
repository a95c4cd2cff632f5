import { ConfigError } from '../../../errors.ts'
import type { PoolOptions } from '../../../index.ts'
import { credentialSource } from '../../shared/simulated-model.ts'
import { listenForStop } from '../../shared/stop.ts'
import { announceLive, printLive, printStep } from './print.ts'
import { runLive } from './run.ts'
import type { LiveReport } from './run.ts'

/** Small and cheap, by the name that every provider's CLI knows. */
const DEFAULT_MODEL = 'haiku'

/**
 * Tries the pool with the real model, as the config and the environment reach it. A number: a signal ended it, and this is
 * the exit code. Throws ConfigError without a credential.
 */
export async function checkLive(
  options: PoolOptions,
  { model = DEFAULT_MODEL, json }: { model?: string; json?: true },
): Promise<LiveReport | number> {
  const { driver: _, ...given } = options
  const credential = credentialSource(given, process.env)
  if (credential === undefined)
    throw new ConfigError(
      '--live',
      'asks the real model and finds no credential; set ANTHROPIC_API_KEY, or api in the config',
    )
  // Of agents that bring a credential of their own, the first will do.
  const env = Object.values(options.agents).find(({ env: own }) =>
    credentialSource({ agents: { a: { env: own ?? {} } } }, {}),
  )?.env
  using stop = listenForStop(['SIGINT', 'SIGTERM', 'SIGHUP'])
  announceLive(model, credential, json === true)
  const report = await runLive({
    api: options.api ?? {},
    env: { ...process.env, ...env },
    agentEnv: env ?? {},
    model,
    stop: stop.signal,
    told: json === true ? () => undefined : printStep,
  })
  if (stop.signal.aborted) return stop.signal.reason as number
  if (json !== true) printLive(report)
  return report
}
