import { closeSync, constants, fchmodSync, fstatSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import { StoreError } from './errors.ts'

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

/** Makes a folder for this user alone. Throws StoreError if it belongs to another user: some of these places are shared. */
export function makePrivateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { uid, mode } = lstatSync(folder)
  if (process.getuid !== undefined && (uid !== process.getuid() || (mode & 0o077) !== 0))
    throw new StoreError(`${folder} is not this user's alone; remove it, or let its owner remove it`)
}
