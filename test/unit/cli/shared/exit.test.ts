import { readFile } from 'node:fs/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { EXIT, report } from '../../../../src/cli/shared/exit.ts'
import { PoolError } from '../../../../src/errors.ts'

test('an error of the pool is one line with its code', () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  onTestFinished(() => said.mockRestore())
  expect(report(new PoolError('unsupported_node', 'too old'))).toBe(EXIT.failed)
  expect(said.mock.calls).toEqual([['claude-agent-pool: too old (unsupported_node)']])
})

test('what the system says of a file is a sentence that names it', async () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  onTestFinished(() => said.mockRestore())
  const problem = await readFile('/no/such/file').catch((error: unknown) => error)
  expect(report(problem)).toBe(EXIT.failed)
  expect(said.mock.calls).toEqual([['claude-agent-pool: /no/such/file: it does not exist']])
})
