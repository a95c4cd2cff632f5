import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { readLimits } from '../../../src/options/limits.ts'
import { readAgent } from '../../../src/agents/agent.ts'
import { readServerConfig } from '../../../src/server/options.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

vi.mock('../../../src/options/renamed.ts', () => ({
  RENAMED: {
    'limits.turnDuration': 'limits.turnTimeout',
    'agents.*.tooling': 'agents.*.tools',
    'agents.*.limits.turnDuration': 'agents.*.limits.turnTimeout',
    'server.tenantLimits.rpm': 'server.tenantLimits.requestsPerMinute',
  },
}))

describe('An option that was renamed is refused with its new name', () => {
  test('in a section', () => {
    expect(problemOf(() => readLimits(loose({ turnDuration: '5m' })))).toBe(
      'limits.turnDuration: is called limits.turnTimeout now; rename it',
    )
  })

  test('in an agent, whose name is in both', () => {
    expect(problemOf(() => readAgent('a.b', loose({ tooling: ['Read'] })))).toBe(
      'agents.a.b.tooling: is called agents.a.b.tools now; rename it',
    )
    expect(problemOf(() => readAgent('a', loose({ limits: { turnDuration: '5m' } })))).toBe(
      'agents.a.limits.turnDuration: is called agents.a.limits.turnTimeout now; rename it',
    )
  })

  test('in a map of the server', () => {
    expect(problemOf(() => readServerConfig({ tenantLimits: { rpm: 5 } }))).toBe(
      'server.tenantLimits.rpm: is called server.tenantLimits.requestsPerMinute now; rename it',
    )
  })

  test.each([
    ['yaml', 'agents:\n  a:\nlimits:\n  turns: 5\n  turnDuration: 5m\n', 5],
    ['json', '{\n "agents": { "a": {} },\n "limits": {\n  "turnDuration": "5m"\n }\n}\n', 4],
    ['mjs', 'export default {\n  agents: { a: {} },\n  limits: { turnDuration: "5m" },\n}\n', 3],
  ])('and its line in a config of %s', async (kind, text, line) => {
    const folder = await temporaryFolder()
    const name = `claude-agent-pool.config.${kind}`
    await writeFile(join(folder, name), text)
    await expect(loadConfig(undefined, folder)).rejects.toThrow(
      `${name}: line ${line}: limits.turnDuration: is called limits.turnTimeout now; rename it`,
    )
  })
})

test('A name that another option may have had elsewhere is a misspelling', () => {
  expect(problemOf(() => readAgent('a', loose({ turnDuration: '5m' })))).toMatch(/is not an option of an agent; known/)
})
