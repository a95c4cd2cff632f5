import { afterEach, expect, test, vi } from 'vitest'
import { withStore } from '../../../../src/cli/shared/store-flag.ts'
import { planOf } from '../../../../src/cli/shared/serve-plan.ts'

const DATABASE = { postgres: 'postgres://db/agents' }
const SECRET = 'a-secret-of-24-characters'

afterEach(() => vi.unstubAllEnvs())

test('With a database, other hosts of the machine reach a host without a word about it', () => {
  expect(withStore({ store: DATABASE }, {})).toEqual({ store: DATABASE, cluster: {} })
  expect(withStore({}, { store: DATABASE.postgres })).toMatchObject({ cluster: {} })
  expect(withStore({}, {})).toEqual({})
})

test('The secret of the environment replaces that of the config', () => {
  vi.stubEnv('CLAUDE_AGENT_POOL_CLUSTER_SECRET', SECRET)
  const cluster = { listen: '10.0.0.5:7070', secretFile: '/run/secret' }
  expect(withStore({ store: DATABASE, cluster }, {})).toMatchObject({
    cluster: { listen: '10.0.0.5:7070', secret: SECRET },
  })
  expect(withStore({ store: DATABASE, cluster }, {}).cluster).not.toHaveProperty('secretFile')
})

/** What `serve --check` finds wrong with this section. */
function problemOf(options: Record<string, unknown>): string {
  const config = { file: 'pool.yaml', server: {}, options: { agents: { a: {} }, dataDir: '/data', ...options } }
  try {
    planOf({}, config as unknown as Parameters<typeof planOf>[1])
    return 'none'
  } catch (error) {
    return (error as Error).message
  }
}

test('A config is checked with what the environment says: names, addresses, and whether a secret is there', () => {
  const cluster = { listen: '10.0.0.5:7070' }
  expect(problemOf({ store: DATABASE, cluster })).toContain('cluster.secret: is required')
  expect(problemOf({ store: DATABASE, cluster: { adress: 'x' } })).toContain('cluster.adress: is not an option')
  expect(problemOf({ cluster: {} })).toContain('cluster: needs a store that hosts share')
  vi.stubEnv('CLAUDE_AGENT_POOL_CLUSTER_SECRET', SECRET)
  expect(problemOf({ store: DATABASE, cluster })).toBe('none')
})
