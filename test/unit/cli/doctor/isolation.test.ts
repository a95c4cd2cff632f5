import { expect, test } from 'vitest'
import { checkIsolation } from '../../../../src/cli/doctor/isolation.ts'
import type { ServedIsolation } from '../../../../src/cli/shared/serve-isolation.ts'

const MISSING = 'bwrap is not installed'

const FAILED = { problem: MISSING }
const SANDBOX = { mode: 'bubblewrap' } as const
const USER = { mode: 'user' } as const

const of = (mode: 'none' | 'auto' | 'bubblewrap' | 'user', more: Partial<ServedIsolation> = {}): ServedIsolation => ({
  options: { mode, egress: 'open' },
  shared: false,
  otherwise: undefined,
  ...more,
})

test.each([
  [of('user'), USER, 'ok', 'user: a probe as the user of a tenant reached nothing of the host'],
  [of('user'), FAILED, 'error', MISSING],
  [of('auto', { otherwise: 'warn' }), USER, 'ok', 'user, the default of serve: a probe as the user of a tenant'],
  [of('bubblewrap'), SANDBOX, 'ok', 'bubblewrap: a probe reached nothing outside; network open'],
  [of('bubblewrap'), FAILED, 'error', MISSING],
  [of('auto', { otherwise: 'warn' }), SANDBOX, 'ok', 'bubblewrap, the default of serve: a probe reached nothing'],
  [
    of('auto', { otherwise: 'warn' }),
    FAILED,
    'warning',
    `none, since bubblewrap, the default of serve, cannot be used: ${MISSING}`,
  ],
  [of('auto', { otherwise: 'refuse' }), FAILED, 'error', `a server of several tenants needs isolation: ${MISSING}`],
  [of('none'), SANDBOX, 'warning', 'none: agents can do what this user can do'],
  [of('none'), FAILED, 'warning', `none: agents can do what this user can do. Bubblewrap cannot be used: ${MISSING}`],
  [of('none', { because: 'it has a driver' }), SANDBOX, 'warning', 'none, since it has a driver'],
] as const)('%j, where the probe says %s, is: %s', (served, tried, verdict, says) => {
  expect(checkIsolation(served, tried)).toMatchObject({ verdict, says: expect.stringContaining(says) })
})
