import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { checkHandOver } from '../../../src/process/hand-over.ts'

const KIB = 1024

test(
  'One argument or variable may have as many bytes as Linux takes, and no more',
  { skip: process.platform !== 'linux' },
  () => {
    const run = (value: string) => spawnSync('/bin/true', [value], { env: {} })
    const longest = 'ä'.repeat(64 * KIB - 1) + 'x'
    expect(run(longest).status).toBe(0)
    checkHandOver('agents.a', [{ option: 'tools', text: longest }], 'linux')
    expect(run(`${longest}x`).error).toMatchObject({ code: 'E2BIG' })
    expect(() => checkHandOver('agents.a', [{ option: 'tools', text: `${longest}x` }], 'linux')).toThrow(
      'agents.a.tools: has 131073 bytes, more than a process can be started with: one argument or variable may have 131072; shorten it',
    )
  },
)

test('What fits one by one may be too much together: the largest is named', () => {
  const parts = Array.from({ length: 30 }, (_, at) => ({ option: `env.PART${at}`, text: 'x'.repeat(100 * KIB - at) }))
  expect(() => checkHandOver('', parts, 'linux')).toThrow(
    /^env\.PART0: has 102401 bytes.* may have 2097152 together, and have 3071\d{3}; write it to a file/,
  )
  checkHandOver('', parts.slice(0, 20), 'linux')
})

test.each([
  ['darwin', 'settings', 1024 * KIB, /write them to a file/],
  ['win32', 'allowedTools', 32_767, /under permissions in a settings file/],
] as const)('%s has a limit of its own', (platform, option, limit, advice) => {
  checkHandOver('', [{ option, text: 'x'.repeat(limit - 1) }], platform)
  expect(() => checkHandOver('', [{ option, text: 'x'.repeat(limit) }], platform)).toThrow(advice)
})

test('Variables of any length are nothing to Windows', () => {
  checkHandOver('', [{ option: 'env.LARGE', text: 'x'.repeat(100 * KIB) }], 'win32')
})
