import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSdkMcpServer, HOOK_EVENTS } from '@anthropic-ai/claude-agent-sdk'
import { describe, expect, test } from 'vitest'
import { readAgent } from '../../../src/agents/agent.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const problem = (options: object): string => problemOf(() => readAgent('a', loose(options))).replace(/^agents\.a\./, '')
const hook = async (): Promise<object> => ({})

describe('A tool that does not exist is refused', () => {
  test.each<[object, string]>([
    [{ tools: ['Read', 'Gerp'] }, 'tools.1: there is no tool "Gerp"; did you mean Grep?'],
    [{ tools: ['read'] }, 'tools.0: there is no tool "read"; did you mean Read?'],
    [{ disallowedTools: ['Bsah'] }, 'disallowedTools.0: there is no tool "Bsah"; did you mean Bash?'],
    [{ disallowedTools: ['web_search'] }, 'disallowedTools.0: there is no tool "web_search"; did you mean WebSearch?'],
    [{ allowedTools: ['Bsah(git:*)'] }, 'allowedTools.0: there is no tool "Bsah"; did you mean Bash?'],
    [{ allowedTools: ['Read, Wirte(src/**)'] }, 'allowedTools.0: there is no tool "Wirte"; did you mean Write?'],
    [{ tools: ['Wibble'] }, 'tools.0: there is no tool "Wibble"'],
    [{ tools: ['x'.repeat(9_000)] }, `tools.0: there is no tool "${'x'.repeat(60)}…"`],
    [{ disallowedTools: ['Wib*'] }, 'disallowedTools.0: "Wib*" matches no tool'],
    [{ tools: ['!Bsah'] }, 'tools.0: there is no tool "Bsah"; did you mean Bash?'],
    [
      { disallowedTools: ['mpc__shop__order'] },
      'disallowedTools.0: there is no tool "mpc__shop__order"; those of MCP servers are written mcp__SERVER__TOOL',
    ],
    [
      { allowedTools: ['mcp__shopp__order'], mcpServers: { shop: { command: 'shop' } } },
      'allowedTools.0: there is no MCP server "shopp"; did you mean shop?',
    ],
    [
      { agents: { helper: { description: 'd', prompt: 'p', tools: ['Raed'] } } },
      'agents.helper.tools.0: there is no tool "Raed"; did you mean Read?',
    ],
    [
      { hooks: { PreToolUse: [{ matcher: 'Write|Edti', hooks: [hook] }] } },
      'hooks.PreToolUse.0.matcher: there is no tool "Edti"; did you mean Edit?',
    ],
    [
      { settings: { permissions: { deny: ['Bsah(rm:*)'] } } },
      'settings.permissions.deny.0: there is no tool "Bsah"; did you mean Bash?',
    ],
    [
      { settings: '{ "permissions": { "deny": ["Bsah"] } }' },
      'settings.permissions.deny.0: there is no tool "Bsah"; did you mean Bash?',
    ],
    [{ toolAliases: { Bsah: 'mcp__box__bash' } }, 'toolAliases.Bsah: there is no tool "Bsah"; did you mean Bash?'],
    [{ tools: 'Read' }, 'tools: must be a list like [Read, Grep], or { type: preset, preset: claude_code }'],
    [{ allowedTools: [5] }, 'allowedTools.0: must be text, not a number; put it in quotes'],
  ])('%j', (options, expected) => {
    expect(problem(options)).toBe(expected)
  })

  test.each<object>([
    { tools: [] },
    { tools: ['Bash', 'Glob', 'Grep', 'Agent', 'Task', 'TodoWrite', 'MultiEdit', 'AskUserQuestion', 'default'] },
    { tools: { type: 'preset', preset: 'claude_code' } },
    {
      allowedTools: ['Bash(git log:*)', 'Bash(node -e "f(() => (1), Xyz)")', 'Read(//etc/**)', 'WebFetch(domain:a.b)'],
    },
    { disallowedTools: ['Task*', '*', 'mcp__*', 'mcp__github__*', 'NotebookEdit'] },
    { allowedTools: ['mcp__shop__order', 'mcp__shop'], mcpServers: { shop: { command: 'shop' } } },
    { allowedTools: ['mcp__github', 'mcp__gitlab'], mcpServers: { github: { command: 'x' } } },
    { allowedTools: ['mcp__later'], mcpServers: () => ({}) },
    { allowedTools: ['mcp__shopp__order'], mcpServers: { shop: { command: 'shop' } }, strictMcpConfig: false },
    { tools: ['ToolOfAnotherRelease'], pathToClaudeCodeExecutable: '/opt/claude' },
    {
      hooks: {
        PreToolUse: [
          { matcher: 'Write|Edit', hooks: [hook] },
          { matcher: '^mcp__.*', hooks: [hook] },
        ],
      },
    },
    { hooks: { SessionStart: [{ matcher: 'startup', hooks: [hook] }] } },
  ])('and one that does passes: %j', (options) => {
    expect(problem(options)).toBe('none')
  })
})

describe('A hook that does not exist is refused', () => {
  test.each<[object, string]>([
    [{ PreTolUse: [] }, 'hooks.PreTolUse: is not a hook; did you mean PreToolUse?'],
    [{ preToolUse: [] }, 'hooks.preToolUse: is not a hook; did you mean PreToolUse?'],
    [
      { PreToolUse: [{ mather: 'Bash', hooks: [hook] }] },
      'hooks.PreToolUse.0.mather: is not an option; did you mean matcher?',
    ],
    [{ PreToolUse: [{ hook: [hook] }] }, 'hooks.PreToolUse.0.hook: is not an option; did you mean hooks?'],
    [
      { PreToolUse: [{ hooks: ['./check.sh'] }] },
      'hooks.PreToolUse.0.hooks.0: must be a function, which only a config of code can have (.ts, .mts, .js, .mjs)',
    ],
    [{ PreToolUse: hook }, 'hooks.PreToolUse: must be a list, like [a, b], not a function'],
    [
      { PreToolUse: [{ hooks: [hook], onFailure: 'stop' }] },
      'hooks.PreToolUse.0.onFailure: "stop" is not one of: continue, block',
    ],
  ])('%j', (hooks, expected) => {
    expect(problem({ hooks })).toBe(expected)
  })

  test('and all of the SDK’s pass', () => {
    expect(problem({ hooks: Object.fromEntries(HOOK_EVENTS.map((name) => [name, [{ hooks: [hook] }]])) })).toBe('none')
  })
})

describe('An MCP server is refused', () => {
  const command = 'files'
  test.each<[object, string]>([
    [{ x: { comand: 'files' } }, 'mcpServers.x.comand: is not an option; did you mean command?'],
    [{ x: {} }, 'mcpServers.x.command: is missing; it must be text'],
    [{ x: { command, arg: [] } }, 'mcpServers.x.arg: is not an option; did you mean args?'],
    [{ x: { command, args: '-v' } }, 'mcpServers.x.args: must be a list, like [a, b], not text'],
    [{ x: { command, env: { PORT: 80 } } }, 'mcpServers.x.env.PORT: must be text, not a number; put it in quotes'],
    [
      { x: { type: 'htpp', url: 'https://a.b' } },
      'mcpServers.x.type: "htpp" is not one of: stdio, sse, http, sdk; did you mean http?',
    ],
    [{ x: { url: 'https://a.b' } }, 'mcpServers.x.type: is missing; a server with a url is of type "http" or "sse"'],
    [{ x: { type: 'http', url: 'a.b' } }, 'mcpServers.x.url: must be an http(s) URL'],
    [
      { x: { type: 'http', url: 'https://a.b', header: {} } },
      'mcpServers.x.header: is not an option; did you mean headers?',
    ],
    [{ x: 'files' }, 'mcpServers.x: must be a map of options, not text'],
    [['files'], 'mcpServers: must be a map, like { name: value }, not a list'],
  ])('%j', (mcpServers, expected) => {
    expect(problem({ mcpServers })).toBe(expected)
  })

  test('and one of each type passes', () => {
    const mcpServers = {
      a: { command, args: ['-v'], env: { PORT: '80' }, timeout: 5_000, alwaysLoad: true },
      b: { type: 'sse', url: 'http://127.0.0.1:1/sse', headers: { authorization: 'x' } },
      c: { type: 'http', url: 'https://a.b/mcp', tools: [{ name: 'order', permission_policy: 'always_ask' }] },
    }
    expect(problem({ mcpServers })).toBe('none')
    const sdk = { tools: createSdkMcpServer({ name: 'tools', tools: [] }) }
    expect(problemOf(() => readAgent('q', loose({ mcpServers: sdk }), { ownProcess: true }))).toBe('none')
  })
})

describe('A value that would not hold is refused', () => {
  test.each<[object, string]>([
    [
      { canUseTool: true },
      'canUseTool: must be a function, which only a config of code can have (.ts, .mts, .js, .mjs)',
    ],
    [
      { onElicitation: 'ask' },
      'onElicitation: must be a function, which only a config of code can have (.ts, .mts, .js, .mjs)',
    ],
    [{ model: null }, 'model: has no value; it must be text, or left out'],
    [{ model: '' }, 'model: is empty'],
    [{ maxTurns: 1.5 }, 'maxTurns: must be a whole number, and 1.5 is none'],
    [{ maxTurns: 0 }, 'maxTurns: must be more than 0'],
    [{ maxTurns: '5' }, 'maxTurns: must be a number, not text; leave out the quotes'],
    [
      { includePartialMessages: 'true' },
      'includePartialMessages: must be true or false, not text; leave out the quotes',
    ],
    [
      { permissionMode: 'dontask' },
      'permissionMode: "dontask" is not one of: default, acceptEdits, bypassPermissions, plan, dontAsk, auto; did you mean dontAsk?',
    ],
    [
      { settingSources: ['users'] },
      'settingSources.0: "users" is not one of: user, project, local; did you mean user?',
    ],
    [{ env: { PORT: 8080 } }, 'env.PORT: must be text, not a number; put it in quotes'],
    [{ sandbox: { enabeld: true } }, 'sandbox.enabeld: is not an option; did you mean enabled?'],
    [
      { sandbox: { network: { allowDomains: [] } } },
      'sandbox.network.allowDomains: is not an option; did you mean allowedDomains?',
    ],
    [{ settings: { permission: { deny: [] } } }, 'settings.permission: is not a setting; did you mean permissions?'],
    [{ settings: { permissions: { denny: [] } } }, 'settings.permissions.denny: is not an option; did you mean deny?'],
    [{ settings: '{ permissions' }, expect.stringMatching(/^settings: is not JSON: /) as unknown as string],
    [{ settings: '/not/there.json' }, 'settings: there is no file /not/there.json that this user can reach'],
    [{ agents: { x: { description: 'd', promt: 'p' } } }, 'agents.x.promt: is not an option; did you mean prompt?'],
    [{ plugins: [{ type: 'local', pth: './p' }] }, 'plugins.0.pth: is not an option; did you mean path?'],
    [
      { plugins: [{ type: 'local', path: '/not/there' }] },
      'plugins.0.path: /not/there does not exist, or this user cannot reach it; correct the path',
    ],
    [
      { additionalDirectories: ['/not/there'] },
      'additionalDirectories.0: /not/there does not exist, or this user cannot reach it; make it first',
    ],
    [
      { cwd: '/not/there' },
      'cwd: /not/there does not exist, or this user cannot reach it; make it first, or leave cwd out for a workspace of the pool',
    ],
    [
      { systemPrompt: 5 },
      'systemPrompt: must be text, a list of texts, or a map like { type: preset, preset: claude_code, append: … }',
    ],
    [
      { thinking: { type: 'adaptiv' } },
      'thinking.type: "adaptiv" is not one of: adaptive, enabled, disabled; did you mean adaptive?',
    ],
  ])('%j', (options, expected) => {
    expect(problem(options)).toEqual(expected)
  })

  test('such as a cwd that is a file', async () => {
    const cwd = join(await temporaryFolder(), 'file')
    await writeFile(cwd, '')
    expect(problem({ cwd })).toBe(`cwd: ${cwd} is not a directory`)
  })
})
