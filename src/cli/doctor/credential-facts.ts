import { systemClock } from '../../clock.ts'
import { placementOf } from '../../credentials/placement.ts'
import { withCredentials } from '../../credentials/refreshed-api.ts'
import { hostEnvironment } from '../../driver/environment.ts'
import type { PoolOptions } from '../../index.ts'
import { apiOf, readApi } from '../../options/api.ts'
import type { PlacementFacts } from './credentials.ts'

/** Variables by which an agent reaches the model in a way of its own. */
const CREDENTIAL = /^(?:ANTHROPIC|CLAUDE_CODE_(?:USE|OAUTH)|AWS|GOOGLE)_/

/** What becomes of each credential that a config brings. */
export function placementsOf({ api = {}, agents }: PoolOptions): PlacementFacts[] {
  const placed = (of: string, env: Record<string, string>): PlacementFacts => {
    const taken = placementOf(env)
    const says = taken.kind === 'taken' ? taken.from : taken.kind === 'kept' ? taken.because : ''
    return { of, kind: taken.kind, says }
  }
  const host = hostEnvironment(api, process.env)
  const ofTenants = Object.keys(api.tenants ?? {}).map((tenant) =>
    placed(`tenant ${tenant}`, hostEnvironment(apiOf(api, tenant), process.env)),
  )
  const ofAgents = Object.entries(agents).flatMap(([name, { env = {} }]) => {
    const own = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
    const placement = placed(`agent ${name}`, { ...host, ...Object.fromEntries(own) })
    return own.some(([variable]) => CREDENTIAL.test(variable)) ? [placement] : []
  })
  return [placed('the pool', host), ...ofTenants, ...ofAgents]
}

/** The secrets that lead to the model, as this config and environment hold them. */
export function credentialsOf({ api = {} }: PoolOptions): string[] {
  const given = [api, ...Object.values(api.tenants ?? {})]
  const names = [
    'ANTHROPIC_API_KEY',
    'ANTHROPIC_AUTH_TOKEN',
    'CLAUDE_CODE_OAUTH_TOKEN',
    'ANTHROPIC_FOUNDRY_API_KEY',
    'AWS_SECRET_ACCESS_KEY',
    'AWS_BEARER_TOKEN_BEDROCK',
  ]
  return [
    ...given.flatMap(({ key, authToken, oauthToken }) => [key, authToken, oauthToken]),
    ...names.map((name) => process.env[name]),
  ].filter((secret): secret is string => secret !== undefined && secret !== '')
}

/** The options with the credentials that commands and files give now, or why they give none. */
export async function withRefreshed(options: PoolOptions): Promise<{ options: PoolOptions; problem?: string }> {
  try {
    return { options: { ...options, api: await withCredentials(systemClock, readApi(options.api)) } }
  } catch (error) {
    return { options, problem: (error as Error).message }
  }
}
