import { expect, test } from 'vitest'
import { handedOver } from '../../../src/driver/command-line.ts'

test('Arguments and variables are told by the options that they come from', () => {
  const args = ['--verbose', '--allowedTools=Bash,Read', '--settings', '{"a":1}', '--mcp-config={}', '--mine', 'value']
  expect(handedOver(args, { HOME: '/home', GONE: undefined })).toEqual([
    { option: 'extraArgs.verbose', text: '--verbose' },
    { option: 'allowedTools', text: '--allowedTools=Bash,Read' },
    { option: 'settings', text: '--settings' },
    { option: 'settings', text: '{"a":1}' },
    { option: 'mcpServers', text: '--mcp-config={}' },
    { option: 'extraArgs.mine', text: '--mine' },
    { option: 'extraArgs.mine', text: 'value' },
    { option: 'env.HOME', text: 'HOME=/home' },
  ])
})
