import { describe, expect, test } from 'vitest'
import { openIsolated, servedIsolation } from '../../../../src/cli/shared/serve-isolation.ts'
import type { ServedIsolation } from '../../../../src/cli/shared/serve-isolation.ts'
import { StartError } from '../../../../src/index.ts'
import type { Logger, PoolOptions } from '../../../../src/index.ts'
import type { IsolationOptions } from '../../../../src/options/isolation.ts'
import type { ServerOptions } from '../../../../src/server/index.ts'

type Config = Pick<PoolOptions, 'agents' | 'isolation'>

const keysOf = (...tenants: string[]): ServerOptions => ({
  keys: tenants.map((tenant, at) => ({ tenant, sha256: String(at).repeat(64) })),
})

const JWT = { jwt: { jwks: 'https://issuer.example/jwks.json', issuer: 'i', audience: 'a' } }

const config = (isolation?: IsolationOptions): Config => ({ agents: { a: {} }, ...(isolation && { isolation }) })

describe('Without a mode in the config', () => {
  test.each([
    ['no keys', {}],
    ['one key', keysOf('acme')],
    ['two keys of one tenant', keysOf('acme', 'acme')],
  ])('%s: the strongest mode, an open network, and none if no mode works', (_, server) => {
    expect(servedIsolation(config(), server)).toEqual({
      options: { mode: 'auto', egress: 'open' },
      shared: false,
      otherwise: 'warn',
    })
  })

  test.each([
    ['keys of two tenants', keysOf('acme', 'beta')],
    ['tokens', JWT],
  ])('%s: the strongest mode, the model as the only way out, and no start if no mode works', (_, server) => {
    expect(servedIsolation(config(), server)).toEqual({
      options: { mode: 'auto', egress: 'none' },
      shared: true,
      otherwise: 'refuse',
    })
  })

  test('an agent of one tenant with unbound spares is not isolated, and that is said', () => {
    const agents = { a: { unboundSpares: { max: 1 } } }
    expect(servedIsolation({ agents }, {})).toMatchObject({
      options: { mode: 'none' },
      because: 'agents.a.unboundSpares cannot be sandboxed',
    })
    expect(servedIsolation({ agents }, keysOf('acme', 'beta')).otherwise).toBe('refuse')
  })
})

test.each([
  [{ mode: 'none' }, 'open'],
  [{ mode: 'bubblewrap' }, 'none'],
  [{ mode: 'auto', egress: 'open' }, 'open'],
] as const)('the config’s own %j holds for several tenants, with egress %s', (isolation, egress) => {
  expect(servedIsolation(config(isolation), keysOf('acme', 'beta'))).toEqual({
    options: { ...isolation, egress },
    shared: true,
    otherwise: undefined,
  })
})

describe('If no mode works', () => {
  const tried: (string | undefined)[] = []
  const open = async ({ mode }: IsolationOptions): Promise<string> => {
    tried.push(mode)
    if (mode !== 'none') throw new StartError('isolation', 'bwrap is not installed')
    return 'opened'
  }

  function logged(): { lines: string[]; logger: Logger } {
    const lines: string[] = []
    const line = (message: string): void => void lines.push(message)
    return { lines, logger: { debug: line, info: line, warn: line, error: line } }
  }

  const served = (otherwise: ServedIsolation['otherwise']): ServedIsolation => ({
    options: { mode: 'auto', egress: 'open' },
    shared: otherwise === 'refuse',
    otherwise,
  })

  test('one tenant is served without isolation, with one line that says why', async () => {
    const { lines, logger } = logged()
    expect(await openIsolated(served('warn'), open, logger)).toBe('opened')
    expect(lines).toEqual(['agents have the rights of this user: bwrap is not installed'])
    expect(tried.splice(0)).toEqual(['auto', 'none'])
  })

  test('several tenants are not served, nor is a mode that the config names given up', async () => {
    const { lines, logger } = logged()
    const refused = openIsolated(served('refuse'), open, logger)
    await expect(refused).rejects.toMatchObject({ code: 'start_failed', phase: 'isolation' })
    await expect(refused).rejects.toThrow('a server of several tenants needs isolation. bwrap is not installed')
    await expect(openIsolated(served(undefined), open, logger)).rejects.toThrow('bwrap is not installed')
    expect([tried.splice(0), lines]).toEqual([['auto', 'auto'], []])
  })
})
