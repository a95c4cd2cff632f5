import { describe, expect, test } from 'vitest'
import { agentOptions } from '../../../../src/server/managed-agents/agent-options.ts'
import type { ClientCalls, FetchOf } from '../../../../src/server/managed-agents/agent-options.ts'
import { define } from '../../../../src/server/managed-agents/definition.ts'
import { publicFetch } from '../../../../src/server/outbound/public-fetch.ts'
import { agentCreate, parse } from '../../../../src/server/managed-agents/schema.ts'

const ALLOW = { type: 'always_allow' }
const ASK = { type: 'always_ask' }
const TOOLSET = { type: 'agent_toolset_20260401' }
const SHOP = { type: 'url', name: 'shop', url: 'https://shop.example/mcp' }
const ORDER = { type: 'custom', name: 'order', description: 'Orders.', input_schema: { type: 'object' } }

const calls: ClientCalls = {
  confirm: () => Promise.resolve({ behavior: 'deny', message: 'no' }),
  execute: () => Promise.resolve({ content: [] }),
}

const optionsOf = (body: object, fetchOf?: FetchOf) =>
  agentOptions(define(parse(agentCreate, { name: 'Helper', model: 'claude-sonnet-5', ...body })), calls, fetchOf)

const ofShop = (toolset: object) =>
  optionsOf({ mcp_servers: [SHOP], tools: [{ type: 'mcp_toolset', mcp_server_name: 'shop', ...toolset }] })

/** What becomes of a call of each tool: as its hook decides. */
async function decisions({ hooks }: ReturnType<typeof optionsOf>, ...names: string[]) {
  const hook = hooks?.PreToolUse?.[0]?.hooks[0]
  const common = { session_id: 's', transcript_path: '', cwd: '/', tool_use_id: 'call', tool_input: {} }
  const decided = names.map(async (tool_name) => {
    const input = { ...common, hook_event_name: 'PreToolUse' as const, tool_name }
    const said = await hook?.(input, 'call', { signal: new AbortController().signal })
    const specific = said !== undefined && 'hookSpecificOutput' in said ? said.hookSpecificOutput : undefined
    return specific?.hookEventName === 'PreToolUse' ? specific.permissionDecision : undefined
  })
  return Promise.all(decided)
}

test('An agent that names nothing but its model has no tools, and asks nobody', () => {
  const { mcpServers, ...options } = optionsOf({})
  expect(options).toEqual({
    model: 'claude-sonnet-5',
    effort: 'high',
    tools: [],
    allowedTools: [],
    disallowedTools: [],
    includePartialMessages: true,
  })
  expect((mcpServers as (context: unknown) => object)({})).toEqual({})
})

test('Model, effort and system prompt are the agent’s', () => {
  const options = optionsOf({ model: { id: 'claude-opus-5-5', effort: 'low' }, system: 'Be brief.' })
  expect(options).toMatchObject({ model: 'claude-opus-5-5', effort: 'low', systemPrompt: 'Be brief.' })
})

describe('Built-in tools', () => {
  test('are all there and allowed by default, under the names of the CLI', () => {
    const all = ['Bash', 'Edit', 'Read', 'Write', 'Glob', 'Grep', 'WebFetch', 'WebSearch']
    const options = optionsOf({ tools: [TOOLSET] })
    expect(options).toMatchObject({ tools: all, allowedTools: all })
    expect([options.canUseTool, options.hooks]).toEqual([undefined, undefined])
  })

  test('that are disabled are not there', () => {
    const configs = [{ name: 'bash', enabled: false }]
    expect(optionsOf({ tools: [{ ...TOOLSET, configs }] }).tools).not.toContain('Bash')
    const only = { ...TOOLSET, default_config: { enabled: false }, configs: [{ name: 'grep', enabled: true }] }
    expect(optionsOf({ tools: [only] })).toMatchObject({ tools: ['Grep'], allowedTools: ['Grep'] })
  })

  test('ask each by its own policy', async () => {
    const options = optionsOf({ tools: [{ ...TOOLSET, configs: [{ name: 'read', permission_policy: ASK }] }] })
    expect(await decisions(options, 'Read', 'Bash')).toEqual(['ask', 'allow'])
    expect(options.canUseTool).toBe(calls.confirm)
  })
})

describe('The tools of an MCP server', () => {
  test('ask by default', async () => {
    expect(await decisions(ofShop({}), 'mcp__shop__look')).toEqual(['ask'])
  })

  test('that are all allowed need no decision', () => {
    const options = ofShop({ default_config: { permission_policy: ALLOW } })
    expect(options.allowedTools).toEqual(['mcp__shop'])
    expect([options.canUseTool, options.hooks]).toEqual([undefined, undefined])
  })

  test('are decided each by its own policy, and the others by the default', async () => {
    const configs = [
      { name: 'order', permission_policy: ASK },
      { name: 'erase', enabled: false },
    ]
    const options = ofShop({ default_config: { permission_policy: ALLOW }, configs })
    const names = ['look', 'order', 'erase'].map((name) => `mcp__shop__${name}`)
    expect(await decisions(options, ...names)).toEqual(['allow', 'ask', 'deny'])
    expect(options.disallowedTools).toEqual(['mcp__shop__erase'])
  })

  test('may be disabled but for some', async () => {
    const configs = [{ name: 'look', enabled: true, permission_policy: ALLOW }]
    const quiet = ofShop({ default_config: { enabled: false, permission_policy: ALLOW }, configs })
    expect(quiet.allowedTools).toEqual(['mcp__shop__look'])
    const options = ofShop({ default_config: { enabled: false }, configs })
    expect(await decisions(options, 'mcp__shop__look', 'mcp__shop__order')).toEqual(['allow', 'deny'])
  })

  test('come from the address that the agent names', () => {
    const servers = ofShop({}).mcpServers as (context: unknown) => object
    expect(servers({})).toEqual({ shop: { type: 'http', url: SHOP.url } })
  })

  test('are reached by the host where that must be a public address', () => {
    const toolset = { type: 'mcp_toolset', mcp_server_name: 'shop' }
    const { mcpServers } = optionsOf({ mcp_servers: [SHOP], tools: [toolset] }, (url) =>
      url.href === SHOP.url ? publicFetch() : undefined,
    )
    const servers = (mcpServers as (context: unknown) => Record<string, object>)({})
    expect(servers['shop']).toMatchObject({ type: 'sdk', name: 'shop' })
  })
})

describe('Tools of the client', () => {
  test('are never asked about: the client executes them itself', async () => {
    expect(optionsOf({ tools: [ORDER] }).allowedTools).toEqual(['mcp__client_tools__order'])
    const options = optionsOf({ tools: [ORDER, { ...TOOLSET, default_config: { permission_policy: ASK } }] })
    expect(await decisions(options, 'mcp__client_tools__order', 'Bash')).toEqual(['allow', 'ask'])
  })

  test('have a server of their own for each process', () => {
    const servers = optionsOf({ tools: [ORDER] }).mcpServers as (context: unknown) => Record<string, object>
    const [one, two] = [servers({})['client_tools'], servers({})['client_tools']]
    expect(one).toMatchObject({ type: 'sdk', name: 'client_tools' })
    expect(one).not.toBe(two)
    expect((one as { instance: object }).instance).not.toBe((two as { instance: object }).instance)
  })
})

test('A shell command of a skill runs only if Bash needs no confirmation: its client could not be asked', async () => {
  const asking = { name: 'read', permission_policy: ASK }
  const policies = [{ permission_policy: ALLOW }, { permission_policy: ASK }, { enabled: false }]
  const decided = policies.map(async (policy) => {
    const options = optionsOf({ tools: [{ ...TOOLSET, configs: [asking, { name: 'bash', ...policy }] }] })
    const hook = options.hooks?.PreSkillShellCommand?.[0]?.hooks[0]
    const input = {
      session_id: 's',
      transcript_path: '',
      cwd: '/',
      hook_event_name: 'PreSkillShellCommand' as const,
      tool_name: 'Bash',
      tool_input: { command: 'ls' },
      tool_use_id: 'call:preamble-0',
      command_name: 'look',
      invoked_by: 'claude' as const,
    }
    const said = await hook?.(input, undefined, { signal: new AbortController().signal })
    return said !== undefined && 'hookSpecificOutput' in said ? said.hookSpecificOutput : undefined
  })
  const hookEventName = 'PreSkillShellCommand'
  expect(await Promise.all(decided)).toEqual([
    { hookEventName, permissionDecision: 'allow', permissionDecisionReason: 'the policy of this tool' },
    { hookEventName, permissionDecision: 'ask', permissionDecisionReason: expect.stringContaining('no confirmation') },
    { hookEventName, permissionDecision: 'deny', permissionDecisionReason: expect.stringContaining('not enabled') },
  ])
})

test('A tool that the agent does not name is refused where others are asked about', async () => {
  const options = optionsOf({ tools: [{ ...TOOLSET, default_config: { permission_policy: ASK } }] })
  expect(await decisions(options, 'Task', 'mcp__other__tool')).toEqual(['deny', 'deny'])
})

test.each(['client_tools', 'a__b'])(
  '%s is no name for a server: the CLI could not tell its tools from others',
  (name) => {
    const body = { mcp_servers: [{ ...SHOP, name }], tools: [{ type: 'mcp_toolset', mcp_server_name: name }] }
    expect(() => optionsOf(body)).toThrow('mcp_servers.0.name: must not contain "__", nor be "client_tools"')
  },
)

describe('Domains of web tools', () => {
  const bounded = (policy: object) =>
    optionsOf({
      tools: [
        {
          ...TOOLSET,
          default_config: { permission_policy: policy },
          configs: [
            { name: 'web_fetch', allowed_domains: ['docs.example'] },
            { name: 'web_search', blocked_domains: ['ads.example'] },
          ],
        },
      ],
    })

  const decided = async ({ hooks }: ReturnType<typeof optionsOf>, tool_name: string, tool_input: object) => {
    const hook = hooks?.PreToolUse?.[0]?.hooks[0]
    const common = { session_id: 's', transcript_path: '', cwd: '/', tool_use_id: 'call' }
    const input = { ...common, hook_event_name: 'PreToolUse' as const, tool_name, tool_input }
    const said = await hook?.(input, 'call', { signal: new AbortController().signal })
    return said !== undefined && 'hookSpecificOutput' in said ? said.hookSpecificOutput : undefined
  }

  test.each([
    [ALLOW, 'allow'],
    [ASK, 'ask'],
  ])('hold with the policy %j', async (policy, permissionDecision) => {
    const options = bounded(policy)
    expect(await decided(options, 'WebFetch', { url: 'https://docs.example/a' })).toMatchObject({ permissionDecision })
    expect(await decided(options, 'WebFetch', { url: 'https://evil.example' })).toMatchObject({
      permissionDecision: 'deny',
      permissionDecisionReason: 'this agent may not fetch from evil.example',
    })
    expect(await decided(options, 'WebSearch', { query: 'q' })).toMatchObject({
      permissionDecision,
      updatedInput: { query: 'q', blocked_domains: ['ads.example'] },
    })
    expect(await decided(options, 'Bash', { command: 'true' })).toMatchObject({ permissionDecision })
  })

  test('are shown, and need no hook where there are none', async () => {
    const { tools } = define(
      parse(agentCreate, {
        name: 'Helper',
        model: 'm',
        tools: [{ ...TOOLSET, configs: [{ name: 'web_fetch', allowed_domains: ['docs.example'] }] }],
      }),
    )
    expect(tools).toMatchObject([{ configs: [{ name: 'web_fetch', allowed_domains: ['docs.example'] }] }])
    expect(optionsOf({ tools: [TOOLSET] }).hooks).toBeUndefined()
  })
})
