import fs from 'node:fs'
import type { Stats } from 'node:fs'
import { promisify } from 'node:util'

/** Names are bytes: an agent may give a file a name that is no text. */
export type RawPath = string | Buffer

/** What stands under a name. `special`: a FIFO, a socket or a device. */
export type EntryKind = 'file' | 'folder' | 'link' | 'special'

/** One name in a folder. */
export interface RawEntry {
  name: Buffer
  kind: EntryKind
}

/** The calls of the file system that work in tenants' folders is made of. Each rejects with a system error. */
export interface FileCalls {
  open(path: RawPath, flags: number, mode?: number): Promise<number>
  close(fd: number): Promise<void>
  /** Closes what was only read, or only a place: nothing is lost with it, so nothing waits for it or fails. */
  drop(fd: number): void
  fstat(fd: number): Promise<Stats>
  lstat(path: RawPath): Promise<Stats>
  /** At most so many names of a folder. */
  list(path: RawPath, limit: number): Promise<RawEntry[]>
  /** Resolves with the count of bytes read; 0 at the end. */
  read(fd: number, buffer: Buffer, position: number): Promise<number>
  /** Writes all of it: at this position, else at the end of what was written. */
  write(fd: number, data: Buffer, position?: number): Promise<void>
  truncate(fd: number, size: number): Promise<void>
  copyFile(from: RawPath, to: RawPath): Promise<void>
  mkdir(path: RawPath, mode: number): Promise<void>
  rmdir(path: RawPath): Promise<void>
  unlink(path: RawPath): Promise<void>
  rename(from: RawPath, to: RawPath): Promise<void>
  readlink(path: RawPath): Promise<Buffer>
  symlink(target: RawPath, path: RawPath): Promise<void>
  /** Gives it to a user and the group of the same number. Does not follow a link. */
  lchown(path: RawPath, uid: number): Promise<void>
  chmod(path: RawPath, mode: number): Promise<void>
  fchmod(fd: number, mode: number): Promise<void>
  /** The mount that an open file is in; undefined where that cannot be told. Asks the kernel alone, so it never waits for a disk. */
  mountOf(fd: number): Promise<string | undefined>
}

interface Kinds {
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
}

export function kindOf(found: Kinds): EntryKind {
  if (found.isFile()) return 'file'
  if (found.isDirectory()) return 'folder'
  return found.isSymbolicLink() ? 'link' : 'special'
}

/** Names that are read from a folder at a time. */
const NAMES_AT_ONCE = 512

async function list(path: RawPath, limit: number): Promise<RawEntry[]> {
  // Node takes this encoding, and its types do not know it.
  const options = { encoding: 'buffer' as BufferEncoding, bufferSize: NAMES_AT_ONCE }
  const entries: RawEntry[] = []
  for await (const entry of await fs.promises.opendir(path, options)) {
    if (entries.length >= limit) break
    entries.push({ name: entry.name as unknown as Buffer, kind: kindOf(entry) })
  }
  return entries
}

const writeOnce = promisify(fs.write) as (
  fd: number,
  data: Buffer,
  offset: number,
  length: number,
  position: number | null,
) => Promise<{ bytesWritten: number }>

async function write(fd: number, data: Buffer, position?: number): Promise<void> {
  for (let at = 0; at < data.length;) {
    const place = position === undefined ? null : position + at
    const { bytesWritten } = await writeOnce(fd, data, at, data.length - at, place)
    at += bytesWritten
  }
}

const readOnce = promisify(fs.read) as (
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>

function drop(fd: number): void {
  try {
    fs.closeSync(fd)
  } catch {
    // It is closed already.
  }
}

async function mountOf(fd: number): Promise<string | undefined> {
  try {
    return /^mnt_id:\s*(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
  } catch {
    return undefined
  }
}

/** Node's own. */
export const nodeCalls: FileCalls = {
  open: promisify(fs.open),
  close: promisify(fs.close),
  drop,
  fstat: promisify(fs.fstat) as FileCalls['fstat'],
  lstat: promisify(fs.lstat) as FileCalls['lstat'],
  list,
  read: async (fd, buffer, position) => (await readOnce(fd, buffer, 0, buffer.length, position)).bytesRead,
  write,
  truncate: promisify(fs.ftruncate),
  // Copies share their blocks until one is written, on file systems that can do that.
  copyFile: (from, to) => fs.promises.copyFile(from, to, fs.constants.COPYFILE_EXCL | fs.constants.COPYFILE_FICLONE),
  mkdir: (path, mode) => fs.promises.mkdir(path, mode) as Promise<unknown> as Promise<void>,
  rmdir: (path) => fs.promises.rmdir(path),
  unlink: promisify(fs.unlink),
  rename: promisify(fs.rename),
  readlink: (path) => fs.promises.readlink(path, { encoding: 'buffer' }),
  symlink: (target, path) => fs.promises.symlink(target, path),
  lchown: (path, uid) => fs.promises.lchown(path, uid, uid),
  chmod: promisify(fs.chmod),
  fchmod: promisify(fs.fchmod),
  mountOf,
}

/** Whether paths can begin at an open folder: so on Linux, where `/proc` shows what is open. */
export const canAnchor = (): boolean => process.platform === 'linux' && fs.existsSync('/proc/self/fd')
