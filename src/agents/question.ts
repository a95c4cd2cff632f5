/** A question to the user: may the agent use this tool? Or, of a tool that the user executes: what comes of it? */
export interface PermissionQuestion {
  asks: 'permission' | 'result'
  toolUseId: string
  name: string
  input: Record<string, unknown>
  /** True when a subagent asks. */
  subagent: boolean
}

/** What came of it. `withdrawn`: the agent was interrupted and waits no more. */
export interface PermissionAnswer {
  result: 'allow' | 'deny' | 'withdrawn'
  message?: string | undefined
}

/** The MCP server, in the host, whose tools the session's client executes. */
export const CLIENT_TOOLS = 'client_tools'

/** What the CLI calls a tool of that server. */
export const clientToolName = (name: string): string => `mcp__${CLIENT_TOOLS}__${name}`
