import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { NAMES_OF_SDK, propertiesOf, sdkDeclares, sdkDeclaresTool, sdkIsNewer } from '../../../src/options/sdk-types.ts'

const { devDependencies } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  devDependencies: Record<string, string>
}

test('The names are those of the SDK that the package is built with', () => {
  // After another SDK has come, look at what the CLI calls its tools; test/process/tool-names.test.ts says which are new.
  expect(devDependencies['@anthropic-ai/claude-agent-sdk']).toBe(NAMES_OF_SDK)
})

describe('The installed SDK', () => {
  test.each([
    ['Options', 'systemPrompt'],
    ['McpStdioServerConfig', 'command'],
    ['HookCallbackMatcher', 'matcher'],
    ['AgentDefinition', 'criticalSystemReminder_EXPERIMENTAL'],
    ['HookEvent', 'PreToolUse'],
    ['PublishedSandboxSettingsSchema', 'allowedDomains'],
  ])('declares %s.%s', (type, name) => {
    expect(sdkDeclares(type, name)).toBe(true)
  })

  test.each([
    ['Options', 'systemPromt'],
    ['McpStdioServerConfig', 'comand'],
    ['McpStdioServerConfig', 'url'],
    ['HookEvent', 'PreTolUse'],
    ['NoSuchType', 'command'],
    ['Options', '.*'],
  ])('does not declare %s.%s', (type, name) => {
    expect(sdkDeclares(type, name)).toBe(false)
  })

  test('says what its types hold', () => {
    expect(propertiesOf('Settings')).toEqual(expect.arrayContaining(['permissions', 'hooks', 'sandbox']))
    expect(propertiesOf('McpHttpServerConfig')).toEqual(['type', 'url', 'headers', 'tools', 'timeout', 'alwaysLoad'])
  })

  test('names tools', () => {
    expect(['NotebookEdit', 'AskUserQuestion', 'Bsah', 'notebookEdit', ''].map(sdkDeclaresTool)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
  })
})

test.each([
  [NAMES_OF_SDK, false],
  ['0.3.328', false],
  ['0.2.999', false],
  ['', false],
  ['0.3.1000', true],
  ['0.4.0-beta.1', true],
  ['1.0.0', true],
])('An SDK of version "%s" may have tools that nobody here knows: %s', (version, newer) => {
  expect(sdkIsNewer(version)).toBe(newer)
})
