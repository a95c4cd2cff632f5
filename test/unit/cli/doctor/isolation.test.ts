import { expect, test } from 'vitest'
import { checkIsolation } from '../../../../src/cli/doctor/isolation.ts'
import type { ServedIsolation } from '../../../../src/cli/shared/serve-isolation.ts'

const MISSING = 'bwrap is not installed'

const of = (mode: 'none' | 'auto' | 'bubblewrap', more: Partial<ServedIsolation> = {}): ServedIsolation => ({
  options: { mode, egress: 'open' },
  shared: false,
  otherwise: undefined,
  ...more,
})

test.each([
  [of('bubblewrap'), undefined, 'ok', 'bubblewrap: a probe reached nothing outside; network open'],
  [of('bubblewrap'), MISSING, 'error', MISSING],
  [of('auto', { otherwise: 'warn' }), undefined, 'ok', 'bubblewrap, the default of serve: a probe reached nothing'],
  [
    of('auto', { otherwise: 'warn' }),
    MISSING,
    'warning',
    `none, since bubblewrap, the default of serve, cannot be used: ${MISSING}`,
  ],
  [of('auto', { otherwise: 'refuse' }), MISSING, 'error', `a server of several tenants needs isolation: ${MISSING}`],
  [of('none'), undefined, 'warning', 'none: agents can do what this user can do'],
  [of('none'), MISSING, 'warning', `none: agents can do what this user can do. Bubblewrap cannot be used: ${MISSING}`],
  [of('none', { because: 'it has a driver' }), undefined, 'warning', 'none, since it has a driver'],
] as const)('%j, where the probe says %s, is: %s', (served, problem, verdict, says) => {
  expect(checkIsolation(served, problem)).toMatchObject({ verdict, says: expect.stringContaining(says) })
})
