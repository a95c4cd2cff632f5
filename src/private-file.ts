import { closeSync, constants, fchmodSync, fstatSync, openSync } from 'node:fs'

/** For its owner only. */
const PRIVATE = 0o600

/**
 * Makes a file that only this user can read and write, whatever the umask is, or takes the rights of others from one that is
 * there. A link is not followed. What SQLite makes beside a database has the rights of the database. Throws what the system says.
 */
export function makePrivateFile(path: string): void {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0), PRIVATE)
  try {
    if ((fstatSync(file).mode & 0o077) !== 0) fchmodSync(file, PRIVATE)
  } finally {
    closeSync(file)
  }
}
