import { readFile } from 'node:fs/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { EXIT, report } from '../../../src/cli/exit.ts'

test('a Node that lacks what the package uses is one line that says which it needs', () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  onTestFinished(() => said.mockRestore())
  const missing = Object.assign(new Error('No such built-in module: node:sqlite'), {
    code: 'ERR_UNKNOWN_BUILTIN_MODULE',
  })
  expect(report(missing)).toBe(EXIT.failed)
  expect(said.mock.calls).toEqual([
    [`claude-agent-pool: Node 22.18.0 or later is needed, and this is ${process.versions.node}`],
  ])
})

test('what the system says of a file is a sentence that names it', async () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  onTestFinished(() => said.mockRestore())
  const problem = await readFile('/no/such/file').catch((error: unknown) => error)
  expect(report(problem)).toBe(EXIT.failed)
  expect(said.mock.calls).toEqual([['claude-agent-pool: /no/such/file: no such file or directory (ENOENT)']])
})
