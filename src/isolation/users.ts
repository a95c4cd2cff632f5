import { readFileSync } from 'node:fs'
import type { UserRange } from '../options/isolation.ts'
import type { BoundaryPlaces, Confinement, Wrapped } from './boundary.ts'
import { programOf } from './hidden-commands.ts'
import { leakOf } from './leak.ts'
import { printed, probe } from './probe.ts'
import type { SandboxedCommand } from './sandbox.ts'

const PASSWD = '/etc/passwd'

/** Runs each process as the user of its tenant. */
export class UserBoundary {
  readonly mode = 'user'
  readonly network = 'open'
  readonly #setpriv: string

  constructor(setpriv: string) {
    this.#setpriv = setpriv
  }

  wrap(inner: SandboxedCommand, _options: object, { owner }: Confinement): Wrapped {
    if (owner === undefined) throw new Error('this process has no user')
    return { ...asUser(this.#setpriv, inner, owner), env: inner.env, isSandbox: false }
  }
}

/** The same command as another user, in no other group, and without a way to get more rights. */
const asUser = (
  setpriv: string,
  { command, args }: Pick<SandboxedCommand, 'command' | 'args'>,
  uid: number,
): { command: string; args: string[] } => ({
  command: setpriv,
  args: [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--', command, ...args],
})

/** A user of this machine in the range: its files would be a tenant's. */
export function takenUser({ first, count }: UserRange, passwd: string): string | undefined {
  return passwd
    .split('\n')
    .map((line) => line.split(':'))
    .find(([, , uid = '']) => uid !== '' && Number(uid) >= first && Number(uid) < first + count)?.[0]
}

type UserTrial = { boundary: UserBoundary } | { problem: string; cause?: unknown }

/** Runs a process as a canary tenant, and attacks another one and the host. */
export async function tryUsers(range: UserRange, places: BoundaryPlaces): Promise<UserTrial> {
  if (process.platform !== 'linux') return { problem: `users for tenants need Linux, and this is ${process.platform}` }
  if (process.geteuid?.() !== 0) return { problem: 'users for tenants need a host that is root' }
  const setpriv = programOf('setpriv', places.path)
  if (setpriv === undefined) return { problem: 'setpriv is not installed (Debian: apt-get install util-linux)' }
  try {
    const taken = takenUser(range, readFileSync(PASSWD, 'utf8'))
    if (taken !== undefined)
      return { problem: `the user ${taken} of ${PASSWD} has a number of isolation.uids; give it another range` }
    // The last ones, which tenants get last.
    const [own, foreign] = [range.first + range.count - 1, range.first + range.count - 2]
    const result = await probe({ users: { own, foreign } }, places, (inner) =>
      printed(asUser(setpriv, inner, own), { env: inner.env, cwd: '/' }),
    )
    if (!result.own_files)
      return {
        problem: `other users cannot enter ${places.dataDir}, or a folder that it is in; put dataDir below /var/lib, for example`,
      }
    // All users see what runs.
    const leak = leakOf({ ...result, host_process: false }, 'open')
    return leak === undefined ? { boundary: new UserBoundary(setpriv) } : { problem: leak }
  } catch (cause) {
    const { stderr = '', message } = cause as Error & { stderr?: string }
    return { problem: `users for tenants do not work here: ${stderr.trim() || message}`, cause }
  }
}
