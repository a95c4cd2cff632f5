import { describe, expect, test } from 'vitest'
import { readAgent } from '../../../src/agents/agent.ts'
import type { AgentOptions } from '../../../src/agents/agent.ts'
import { checkLeanCredential } from '../../../src/agents/lean.ts'

const lean = (options: AgentOptions = {}) => readAgent('assistant', { lean: true, ...options })

describe('A lean agent', () => {
  test('is started in bare mode, beside its own arguments', () => {
    expect(lean({ extraArgs: { debug: null } }).processOptions.extraArgs).toEqual({ debug: null, bare: null })
    expect(lean().processOptions).not.toHaveProperty('lean')
  })

  test('may have the tools that there are, MCP servers and callbacks', () => {
    const agent = lean({
      tools: ['Bash', 'Edit', 'Read'],
      canUseTool: () => Promise.resolve(null),
      hooks: {},
      agents: {},
    })
    // Its processes call no hooks, which would tell of calls.
    expect(agent.permissions.callsTold).toBe(false)
    expect(readAgent('assistant', { canUseTool: () => Promise.resolve(null) }).permissions.callsTold).toBe(true)
  })

  test.each<[string, AgentOptions]>([
    ['agents', { agents: { helper: { description: 'helps', prompt: 'Help.' } } }],
    ['hooks', { hooks: { Stop: [{ hooks: [() => Promise.resolve({})] }] } }],
    ['plugins', { plugins: [{ type: 'local', path: import.meta.dirname }] }],
    ['skills', { skills: ['review'] }],
    ['skills', { skills: 'all' }],
    ['settingSources', { settingSources: ['project'] }],
    ['tools', { tools: ['Bash', 'Write'] }],
    ['tools', { tools: { type: 'preset', preset: 'claude_code' } }],
    ['onLargeTranscript', { onLargeTranscript: 'compact' }],
    ['lean', { lean: 'yes' as unknown as boolean }],
  ])('is refused what its processes leave out: %s', (option, options) => {
    expect(() => lean(options)).toThrow(
      expect.objectContaining({ code: 'invalid_config', path: `agents.assistant.${option}` }),
    )
  })

  test.each([
    [{ CLAUDE_CODE_OAUTH_TOKEN: 't' }, true],
    [{ CLAUDE_CODE_OAUTH_TOKEN: 't', ANTHROPIC_API_KEY: 'k' }, false],
    [{ CLAUDE_CODE_OAUTH_TOKEN: 't', ANTHROPIC_AUTH_TOKEN: 'a' }, false],
    [{ ANTHROPIC_API_KEY: 'k' }, false],
    [{}, false],
  ])('is refused if its one credential is an OAuth token: %j', (env, refused) => {
    const check = (): void => checkLeanCredential('assistant', { lean: true }, env)
    if (refused) expect(check).toThrow('agents.assistant.lean: a lean process reads no OAuth token')
    else expect(check).not.toThrow()
    expect(() => checkLeanCredential('assistant', {}, env)).not.toThrow()
  })
})

test('bare mode is not to be had by an argument of the CLI: what it leaves out would not be checked', () => {
  expect(() => readAgent('assistant', { extraArgs: { bare: null } })).toThrow('agents.assistant.extraArgs.bare')
})
