import { accessSync, constants } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { claudeVersion, findClaudeExecutable } from '../../../src/driver/executable.ts'

test('The program of this platform is found with its package', () => {
  const path = findClaudeExecutable() ?? ''
  expect(basename(path)).toBe(process.platform === 'win32' ? 'claude.exe' : 'claude')
  expect(path).toContain(`${process.platform}-${process.arch}`)
  accessSync(path, constants.X_OK)
})

test('Its version is that of the SDK’s package', () => {
  expect(claudeVersion()).toMatch(/^\d+\.\d+\.\d+/)
})
