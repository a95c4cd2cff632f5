import { createSdkMcpServer } from '@anthropic-ai/claude-agent-sdk'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { readAgent } from '../../../src/agents/agent.ts'
import type { AgentOptions } from '../../../src/agents/agent.ts'

const loose = (options: unknown): AgentOptions => options as AgentOptions

const read = (options: unknown = {}): ReturnType<typeof readAgent> => readAgent('support', loose(options))

describe('the name of an agent', () => {
  test.each(['support', 'a', '0', 'Claude.v2_x-1', 'a'.repeat(64)])('may be %j', (name) => {
    expect(readAgent(name, {}).name).toBe(name)
  })

  test.each(['', ' ', '-a', '.a', '_a', 'a b', 'a/b', '../a', 'ä', 'a'.repeat(65), 'a\n'])('may not be %j', (name) => {
    expect(() => readAgent(name, {})).toThrow(ConfigError)
  })
})

describe('an option', () => {
  test.each(['resume', 'sessionId', 'continue', 'abortController', 'spawnClaudeCodeProcess', 'forkSession', 'stderr'])(
    '%s is the pool’s own',
    (key) => {
      expect(() => read({ [key]: 'x' })).toThrow(`agents.support.${key}: is set by the pool itself; leave it out`)
    },
  )

  test.each([
    ['systemprompt', 'systemPrompt'],
    ['systemPromt', 'systemPrompt'],
    ['permissionmode', 'permissionMode'],
    ['tool', 'tools'],
    ['mcpServer', 'mcpServers'],
    ['spare', 'spares'],
    ['allowedtool', 'allowedTools'],
  ])('%s is unknown, and %s is what was meant', (key, meant) => {
    expect(() => read({ [key]: 'x' })).toThrow(
      `agents.support.${key}: is not an option of an agent; did you mean ${meant}?`,
    )
  })

  test('that is like nothing else is refused with those that are known', () => {
    expect(() => read({ temperature: 1 })).toThrow(
      /^agents\.support\.temperature: is not an option of an agent; known are: additionalDirectories, /,
    )
  })

  const large = 'x'.repeat(200_000)
  test.each<[string, object]>([
    ['allowedTools', { allowedTools: Array.from({ length: 10_000 }, (_, at) => `Bash(command-${at})`) }],
    ['disallowedTools', { disallowedTools: [large] }],
    ['tools', { tools: [large] }],
    ['skills', { skills: [large] }],
    ['settings', { settings: { env: { A: large } } }],
    ['settings', { settings: `{"model":"${large}"}` }],
    ['managedSettings', { managedSettings: { model: large } }],
    ['outputFormat', { outputFormat: { type: 'json_schema', schema: { description: large } } }],
    ['env.NOTES', { env: { NOTES: large } }],
    ['extraArgs.notes', { extraArgs: { notes: large } }],
  ])('%s that no process could be started with is refused by name', (name, options) => {
    expect(() => read(options)).toThrow(`agents.support.${name}: has `)
  })

  test('that refers to itself is refused by name', () => {
    const settings: Record<string, unknown> = {}
    settings['itself'] = settings
    expect(() => read({ settings })).toThrow('agents.support.settings: cannot be written as JSON')
  })

  test('of any size may be what does not go through the command line', () => {
    const agents = { worker: { description: 'Works', prompt: large } }
    expect(() => read({ systemPrompt: large, agents, mcpServers: { a: { command: large } } })).not.toThrow()
  })

  test.each([undefined, null, 'support', 7])('list that is %j is refused', (options) => {
    expect(() => readAgent('support', loose(options))).toThrow('agents.support: is not an object of options')
  })

  test.each(['CLAUDE_CONFIG_DIR', 'CLAUDECODE', 'CLAUDE_AGENT_POOL_MARKER', 'CLAUDE_CODE_PROJECT_DIR_NAME'])(
    'env may not set %s',
    (variable) => {
      expect(() => read({ env: { [variable]: 'x' } })).toThrow(
        `agents.support.env.${variable}: is set by the pool itself`,
      )
    },
  )

  test('onLargeTranscript has two values', () => {
    expect(read({ onLargeTranscript: 'compact' }).onLargeTranscript).toBe('compact')
    expect(read().onLargeTranscript).toBe('refuse')
    expect(() => read({ onLargeTranscript: 'shrink' as 'compact' })).toThrow(
      'agents.support.onLargeTranscript: "shrink" is not one of: refuse, compact',
    )
  })

  test('onStaleResume has two values', () => {
    expect(read({ onStaleResume: 'fresh' }).onStaleResume).toBe('fresh')
    expect(read().onStaleResume).toBe('error')
    expect(() => read({ onStaleResume: 'Fresh' })).toThrow(
      'agents.support.onStaleResume: "Fresh" is not one of: error, fresh',
    )
  })

  test('limits are those of turns, and their problems are named in full', () => {
    expect(read({ limits: { inactivityTimeout: '1m' } }).limits).toEqual({ inactivityTimeoutMs: 60_000 })
    expect(read({ limits: { turnTimeoutMs: 5 } }).limits).toEqual({ turnTimeoutMs: 5 })
    expect(read({ limits: {} }).limits).toEqual({})
    expect(() => read({ limits: { inactivityTimeout: '1' } })).toThrow(
      'agents.support.limits.inactivityTimeout: "1" is not a number with',
    )
    expect(() => read({ limits: { memory: '1GiB' } })).toThrow('agents.support.limits.memory: is not an option')
  })

  test('of the caller’s is not changed afterwards by changing the object', () => {
    const options: AgentOptions = { model: 'a' }
    const agent = readAgent('support', options)
    options.model = 'b'
    expect(agent.options.model).toBe('a')
  })
})

describe('in-process servers', () => {
  const tools = (): ReturnType<typeof createSdkMcpServer> => createSdkMcpServer({ name: 'tools', tools: [] })

  test('are refused as objects, since each process needs its own', () => {
    expect(() => read({ mcpServers: { tools: tools() } })).toThrow(
      'agents.support.mcpServers.tools: is an in-process server, of which each process needs its own; make it in a function',
    )
  })

  test('may be objects where one process has the agent for itself, which then has no spares', () => {
    const agent = readAgent('query-1', { mcpServers: { tools: tools() } }, { ownProcess: true })
    expect(agent.spares).toEqual({ min: 0, max: 0 })
    expect(agent.unboundSpares).toEqual({ min: 0, max: 0 })
  })
})
