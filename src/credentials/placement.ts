import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.ts'
import { hasBudget } from '../options/budgets.ts'
import type { Budgets } from '../options/budgets.ts'
import { takeCredential } from './take-credential.ts'
import type { Taken } from './take-credential.ts'

const readFile = (path: string): string => readFileSync(path, 'utf8')

/** From these versions on Node reaches a server through `HTTPS_PROXY`. */
function knowsProxies(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21)
}

const isBehindProxy = (env: Readonly<Record<string, string>>): boolean =>
  Object.entries(env).some(([name, value]) => /^https?_proxy$/i.test(name) && value !== '')

const otherRuntime = (): string | undefined => ['bun', 'deno'].find((runtime) => runtime in process.versions)

/** Whether this runtime can run the proxy. */
export const runsProxy = (): boolean => otherRuntime() === undefined

/** What becomes of the credential in the environment of an agent. */
export function placementOf(env: Readonly<Record<string, string>>, token = 'token'): Taken {
  const taken = takeCredential(env, { token, readFile })
  if (taken.kind !== 'taken') return taken
  const other = otherRuntime()
  if (other !== undefined)
    return { kind: 'kept', because: `the credential proxy runs in Node alone, and this is ${other}` }
  if (!isBehindProxy(env) || knowsProxies()) return taken
  return {
    kind: 'kept',
    because: `Node ${process.versions.node} does not reach the API through HTTPS_PROXY; 22.21 and 24.5 do`,
  }
}

/** Throws ConfigError when there are budgets, and nothing that could hold agents to them. */
export function checkBudgets(
  budgets: Budgets,
  credentials: 'proxy' | 'environment',
  env: Record<string, string>,
): void {
  if (!hasBudget(budgets)) return
  if (credentials === 'environment')
    throw new ConfigError('budgets', 'need the credential proxy; leave out isolation.credentials, or set it to "proxy"')
  const placement = placementOf(env)
  if (placement.kind === 'kept')
    throw new ConfigError(
      'budgets',
      `need the credential proxy, and it cannot hold this credential: ${placement.because}`,
    )
}
