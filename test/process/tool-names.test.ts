import { expect, test } from 'vitest'
import { BUILT_IN_TOOLS } from '../../src/agents/tool-names.ts'
import { agents, openSite } from '../fixtures/real-pool.ts'

test('Every tool that the real CLI has is a tool to the checks of agents', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ tools: { type: 'preset', preset: 'claude_code' } }) })
  const session = await pool.session('one', { agent: 'a' })
  const tools: string[] = []
  for await (const message of session.send('hello'))
    if (message.type === 'system' && message.subtype === 'init') tools.push(...message.tools)
  expect(tools).toContain('Bash')
  expect(tools.filter((tool) => !BUILT_IN_TOOLS.includes(tool))).toEqual([])
})
