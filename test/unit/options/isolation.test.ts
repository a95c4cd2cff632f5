import { expect, test } from 'vitest'
import { readIsolation } from '../../../src/options/isolation.ts'
import type { IsolationOptions } from '../../../src/options/isolation.ts'
import { problemOf } from '../../fixtures/config-problem.ts'

test('without options there is no boundary, an open network, and the proxy holds the credential', () => {
  expect(readIsolation(undefined)).toEqual({
    mode: 'none',
    egress: 'open',
    paths: { read: [], write: [] },
    credentials: 'proxy',
  })
})

test('"auto" is the strongest mode that there is', () => {
  expect(readIsolation({ mode: 'auto', egress: 'none' })).toMatchObject({ mode: 'bubblewrap', egress: 'none' })
})

test.each([
  [{ mode: 'landlock' }, /isolation\.mode: is none of "none", "bubblewrap" and "auto"/],
  [{ egress: 'none' }, /isolation\.egress: needs a boundary/],
  [
    { mode: 'bubblewrap', egress: 'none', credentials: 'environment' },
    /isolation\.egress: leaves only the credential proxy/,
  ],
  [{ mode: 'bubblewrap', paths: { read: ['srv'] } }, /isolation\.paths\.read\.0: is not an absolute path/],
  [{ mod: 'bubblewrap' }, /isolation\.mod/],
])('%j is refused', (options, problem) => {
  expect(problemOf(() => readIsolation(options as IsolationOptions))).toMatch(problem)
})
