import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { UserBoundary, takenUser, tryUsers } from '../../../src/isolation/users.ts'
import { readIsolation } from '../../../src/options/isolation.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

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

test('A process without a user is not started', () => {
  const inner = { command: 'claude', args: [], cwd: '/', env: {}, sharesNetwork: true }
  expect(() => new UserBoundary('/usr/bin/setpriv').wrap(inner, {}, { network: 'open' })).toThrow('has no user')
})

const RANGE = { first: 50_000, count: 10 }

/** Tries users on a machine whose `setpriv` is this script. */
async function tried(setpriv: string | undefined, { range = RANGE, isRoot = true } = {}) {
  const dataDir = await temporaryFolder()
  const bin = join(dataDir, 'bin')
  mkdirSync(bin)
  if (setpriv !== undefined) {
    writeFileSync(join(bin, 'setpriv'), `#!/bin/sh\n${setpriv}\n`)
    chmodSync(join(bin, 'setpriv'), 0o755)
  }
  vi.spyOn(process, 'geteuid').mockReturnValue(isRoot ? 0 : 1_000)
  onTestFinished(() => void vi.restoreAllMocks())
  return tryUsers(range, { dataDir, storeFile: '', path: bin })
}

const prints = (result: object): string => `echo '${JSON.stringify({ own_files: true, programs: true, ...result })}'`

describe.runIf(process.platform === 'linux')('Users for tenants cannot be had', () => {
  test.each([
    ['a host that is not root', '', { isRoot: false }, 'need a host that is root'],
    ['a machine without setpriv', undefined, {}, 'setpriv is not installed'],
    [
      'a range that a user of the machine is in',
      '',
      { range: { first: 0, count: 10 } },
      'the user root of /etc/passwd',
    ],
  ])('by %s', async (_, setpriv, more, says) => {
    expect(await tried(setpriv, more)).toEqual({ problem: expect.stringContaining(says) })
  })
})

describe.runIf(process.getuid?.() === 0)('Users for tenants are tried as root, and', () => {
  test('hold if the last two of the range reach only their own files; that all see what runs does not matter', async () => {
    const asLast = `case "$1 $2" in "--reuid=50009 --regid=50009") ${prints({ host_process: true })};; *) exit 1;; esac`
    expect(await tried(asLast)).toEqual({ boundary: expect.any(UserBoundary) })
  })

  test.each([
    [prints({ other_tenant: true }), 'an isolated process reached the files of another tenant'],
    [prints({ own_files: false }), 'put dataDir below /var/lib'],
    ['echo " no capabilities" >&2; exit 1', 'users for tenants do not work here: no capabilities'],
    ['exit 1', 'users for tenants do not work here: Command failed'],
  ])('do not hold after %s', async (setpriv, says) => {
    expect(await tried(setpriv)).toMatchObject({ problem: expect.stringContaining(says) })
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
