import { expect, test } from 'vitest'
import { checkIsolation } from '../../../../src/cli/doctor/isolation.ts'

test.each([
  ['bubblewrap', undefined, 'ok', 'a probe reached nothing outside'],
  ['bubblewrap', 'bwrap is not installed', 'error', 'bwrap is not installed'],
  ['none', undefined, 'warning', 'agents can do what this user can do'],
  ['none', 'bwrap is not installed', 'warning', 'bwrap is not installed'],
] as const)('mode %s, where the probe says %s, is: %s', (mode, problem, verdict, says) => {
  expect(checkIsolation(mode, problem)).toMatchObject({ verdict, says: expect.stringContaining(says) })
})
