import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { agents, openSite, say } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const program = fileURLToPath(new URL('../fixtures/large-mcp-server.ts', import.meta.url))

test.runIf(WHOLE)('A tool that gives 60 MiB of structured content is no flood, and the turn goes on', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: agents({
      allowedTools: ['mcp__large__give'],
      mcpServers: { large: { type: 'stdio', command: process.execPath, args: [program] } },
    }),
  })
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send('@sim tool mcp__large__give {"mebibytes":60}')
  const types: string[] = []
  for await (const message of turn) types.push(message.type)
  expect(types.filter((type) => type === 'user' || type === 'result')).toEqual(['user', 'result'])
  // CLI 2.1 closes the connection of a server that says so much; what a worker says itself is cut, see the gate's tests.
  const events = (await session.history({ limit: 100 })).map(({ event }) => event)
  expect(events).toContainEqual(expect.objectContaining({ type: 'agent.mcp_tool_result' }))
  expect(await say(session, 'next')).toMatchObject({ text: '[turn 2] You said: next', warmth: 'live' })
})
