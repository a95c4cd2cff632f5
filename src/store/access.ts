import { accessSync, constants, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** What stands between this process and a data directory. */
export type DataDirAccess = 'open' | 'none' | { closedBy: string }

const describeUser = (uid: number): string => (uid === 0 ? 'root' : `uid ${uid}`)

/** True for what the system says of a path that is closed to this user. */
export const isForbidden = (error: unknown): boolean =>
  ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')

/** The owner that keeps this process from a path; undefined if rights are not the reason. */
export function closedBy(path: string): string | undefined {
  const self = process.getuid?.()
  if (self === undefined) return undefined
  for (let at = resolve(path); ; at = dirname(at)) {
    const found = statOf(at)
    if (found === undefined && at !== dirname(at)) continue
    if (found === undefined || found.uid === self) return undefined
    return `${at} belongs to ${describeUser(found.uid)}, and this process runs as ${describeUser(self)}`
  }
}

function statOf(path: string): { uid: number } | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

/** Whether there is a data directory, and whether it may be used. */
export function accessTo(dataDir: string): DataDirAccess {
  // A backup has the one without the other, and so has a pool with another store.
  for (const name of ['host.lock', 'pool.sqlite']) {
    const path = join(dataDir, name)
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return 'open'
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      // A disk that can only be read, or a file of this user: what is done there says more.
      const who = isForbidden(error) ? closedBy(path) : undefined
      return who === undefined ? 'open' : { closedBy: who }
    }
  }
  return 'none'
}
