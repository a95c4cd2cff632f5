import { expect, test } from 'vitest'
import { UserBoundary, takenUser } from '../../../src/isolation/users.ts'
import { readIsolation } from '../../../src/options/isolation.ts'

const PASSWD = 'root:x:0:0::/root:/bin/sh\nann:x:50009:50009::/home/ann:/bin/sh\n\n'

test('A range that has a user of the machine is found', () => {
  expect(takenUser({ first: 50_000, count: 9 }, PASSWD)).toBeUndefined()
  expect(takenUser({ first: 50_000, count: 10 }, PASSWD)).toBe('ann')
  expect(takenUser({ first: 50_010, count: 10 }, PASSWD)).toBeUndefined()
})

test('A process gets the user and the group of its tenant, no other group, and no way to more rights', () => {
  const inner = { command: 'claude', args: ['-p'], cwd: '/', env: { A: 'b' }, sharesNetwork: true }
  expect(new UserBoundary('/usr/bin/setpriv').wrap(inner, {}, { network: 'open', owner: 50_000 })).toEqual({
    command: '/usr/bin/setpriv',
    args: ['--reuid=50000', '--regid=50000', '--clear-groups', '--no-new-privs', '--', 'claude', '-p'],
    env: { A: 'b' },
    isSandbox: false,
  })
})

test.each([
  [{ uids: { first: 0, count: 10 } }, 'isolation.uids.first'],
  [{ uids: { first: 1_000, count: 1 } }, 'isolation.uids.count'],
  [{ uids: { first: 4_294_967_290, count: 10 } }, 'goes beyond 4294967293'],
  [{ mode: 'user', egress: 'none' }, 'cannot be held by isolation.mode "user"'],
  [{ mode: 'user', tenants: { a: { egress: { allow: ['a.example:1'] } } } }, 'isolation.tenants.a.egress'],
] as const)('%j is refused: %s', (options, says) => {
  expect(() => readIsolation(options)).toThrow(says)
})
