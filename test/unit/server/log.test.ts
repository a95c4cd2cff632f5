import { expect, test } from 'vitest'
import { blame } from '../../../src/config/load.ts'
import { ConfigError, storeError } from '../../../src/errors.ts'
import { jsonLog } from '../../../src/server/log.ts'

/** What a line of the log says of this error. */
function logged(error: unknown): { message: string; cause?: { message: string } } {
  let line = ''
  jsonLog('error', { write: (text: string) => void (line += text) }).error('it failed', { error })
  return (JSON.parse(line) as { error: { message: string } }).error
}

test('an error that quotes its cause says it once, and the cause is beside it', () => {
  const cause = Object.assign(new Error('database or disk is full'), { errcode: 13 })
  const error = logged(storeError('/data/pool.sqlite', cause))
  expect(error.message).toBe('/data/pool.sqlite: database or disk is full; make room on its disk, then go on')
  expect(error.cause?.message).toBe('database or disk is full')
})

test('an error of a config says once what is wrong, with the file', () => {
  const error = logged(blame({ file: 'c.yaml' }, new ConfigError('agents.a.alowedTools', 'did you mean allowedTools?')))
  expect(error.message).toBe('c.yaml: agents.a.alowedTools: did you mean allowedTools?')
  expect(error.cause).toBeUndefined()
})
