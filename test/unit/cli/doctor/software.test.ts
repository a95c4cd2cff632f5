import { describe, expect, test } from 'vitest'
import { checkClaude, checkConfig, checkCredential, checkNode, checkSdk } from '../../../../src/cli/doctor/software.ts'
import { brokenCredentials, credentialSource } from '../../../../src/cli/shared/simulated-model.ts'

describe('The doctor, about what is installed', () => {
  test.each([
    ['22.18.0', 'ok'],
    ['24.9.0', 'ok'],
    ['22.17.1', 'error'],
    ['20.20.0', 'error'],
  ])('finds Node %s %s', (version, verdict) => {
    expect(checkNode(version)).toMatchObject({ check: 'node', verdict, says: version })
  })

  test.each([
    ['0.3.332', 'ok'],
    ['0.3.400', 'ok'],
    ['0.3.331', 'error'],
    ['0.4.0', 'warning'],
    ['1.0.0-beta.1', 'warning'],
    [undefined, 'error'],
  ])('finds SDK %s %s', (version, verdict) => {
    expect(checkSdk(version)).toMatchObject({ verdict })
    if (verdict !== 'ok') expect(checkSdk(version).advice).toContain('npm install @anthropic-ai/claude-agent-sdk@')
  })

  test('wants a claude that runs and fits the SDK', () => {
    const claude = { path: '/sdk/claude', version: '2.1.329', problem: undefined, expected: '2.1.329' }
    expect(checkClaude(claude)).toEqual({ check: 'claude', verdict: 'ok', says: '2.1.329' })
    expect(checkClaude({ ...claude, expected: undefined })).toMatchObject({ verdict: 'ok' })
    expect(checkClaude({ ...claude, version: '2.1.1' })).toMatchObject({
      verdict: 'warning',
      says: '2.1.1, but the SDK was made with 2.1.329',
    })
    expect(checkClaude({ ...claude, version: undefined, problem: 'spawn EACCES' })).toMatchObject({
      verdict: 'error',
      says: '/sdk/claude does not run: spawn EACCES',
    })
    expect(checkClaude({ ...claude, path: undefined, version: undefined })).toMatchObject({ verdict: 'error' })
  })

  test('says where the config is, or what is wrong with it', () => {
    expect(checkConfig({ file: undefined, agents: ['assistant'] }).says).toContain('defaults')
    expect(checkConfig({ file: 'c.yaml', agents: ['a', 'b'] })).toMatchObject({
      verdict: 'ok',
      says: 'c.yaml: agents a, b',
    })
    expect(checkConfig({ problem: 'c.yaml: agents: is empty' })).toMatchObject({ verdict: 'error' })
  })
})

describe('The doctor, about the credential', () => {
  const pool = { agents: { a: {} } }
  const credential = (env: Record<string, string>, options: Parameters<typeof credentialSource>[0] = pool) =>
    checkCredential({ from: credentialSource(options, env), broken: brokenCredentials(env) })

  test('names where it is and never shows it', () => {
    const found = [
      credential({ ANTHROPIC_API_KEY: 'sk-secret' }),
      credential({ CLAUDE_CODE_OAUTH_TOKEN: 'sk-secret' }),
      credential({ CLAUDE_CODE_USE_BEDROCK: '1' }),
      credential({}, { ...pool, api: { key: 'sk-secret' } }),
      credential({}, { ...pool, api: { provider: 'vertex' } }),
      credential({}, { agents: { a: { env: { ANTHROPIC_API_KEY: 'sk-secret' } } } }),
    ]
    expect(found.map(({ verdict }) => verdict)).toEqual(found.map(() => 'ok'))
    expect(found.map(({ says }) => says.replace('there is one: ', ''))).toEqual([
      'ANTHROPIC_API_KEY',
      'CLAUDE_CODE_OAUTH_TOKEN',
      'CLAUDE_CODE_USE_BEDROCK',
      "the config's api",
      'provider vertex of the config',
      'the env of agent a',
    ])
    expect(JSON.stringify(found)).not.toContain('secret')
  })

  test('warns where there is none', () => {
    expect(credential({})).toMatchObject({ verdict: 'warning', says: 'there is none' })
    expect(credential({ ANTHROPIC_API_KEY: '' })).toMatchObject({ verdict: 'warning' })
  })

  test('wants one mended that has the end of its line in it', () => {
    const found = credential({ ANTHROPIC_API_KEY: 'sk-secret\n' })
    expect(found).toMatchObject({ verdict: 'error', says: 'ANTHROPIC_API_KEY has spaces or line ends' })
    expect(JSON.stringify(found)).not.toContain('secret')
  })
})
