import { fileURLToPath } from 'node:url'
import type { AgentOptions } from '../../src/index.ts'
import { MODEL } from '../fixtures/real-pool.ts'

const path = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** What a stdio MCP server of these tests is called in a process table. */
export const MCP_SERVER = 'fault-mcp-server.ts'

type PlainAgent = Omit<AgentOptions, 'canUseTool' | 'hooks' | 'mcpServers'>

/** The real `claude` with a stdio MCP server and Bash. `deaf`: the server ignores SIGTERM and the end of its input. */
export const realAgent = ({ deaf = false, ...options }: PlainAgent & { deaf?: boolean } = {}): AgentOptions => ({
  model: MODEL,
  spares: { max: 0 },
  unboundSpares: { max: 0 },
  allowedTools: ['Bash', 'mcp__fault__ping'],
  mcpServers: {
    fault: { type: 'stdio', command: process.execPath, args: [path(MCP_SERVER), ...(deaf ? ['--deaf'] : [])] },
  },
  ...options,
})

/** A process that misbehaves as its prompts say. */
export const fakeAgent = (options: PlainAgent = {}): AgentOptions => ({
  pathToClaudeCodeExecutable: path('fault-agent.ts'),
  executable: 'node',
  spares: { max: 0 },
  unboundSpares: { max: 0 },
  ...options,
})
