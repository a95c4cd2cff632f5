import { constants } from 'node:fs'
import type { Stats } from 'node:fs'
import { kindOf } from './calls.ts'
import type { FileCalls, RawEntry, RawPath } from './calls.ts'
import { isDenied, wrongKind, Refusal } from './problem.ts'
import type { Operation } from './operation.ts'

// Windows lacks some of them, which then count as 0.
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants

/** Linux has it, and Node does not name it: opens the name and not what it stands for, so it has no effect and never waits. */
const O_PATH = 0o10000000

const OWNER_FOLDER = 0o700
const OWNER_FILE = 0o600

/** Whatever an agent or archive says: nothing runs with the rights of its owner. */
export const PLAIN_MODE: number = 0o777

const SLASH = Buffer.from('/')

/** An open file. */
export interface OpenFile {
  fd: number
  stats: Stats
}

/**
 * An open folder, under which names are looked up without a way out. On Linux the paths of its names begin at its descriptor, as with
 * `openat()`: nothing that an agent renames or links meanwhile leads elsewhere. On other systems a folder is its path, and a
 * check goes before each step. An agent that is quick enough could replace a folder between the two.
 */
export class Folder implements AsyncDisposable {
  readonly #operation: Operation
  readonly #fd: number | undefined
  readonly #path: Buffer
  readonly #mount: string | undefined
  /** Its rights before they were given back to the owner. */
  #modeBefore: number | undefined
  #repaired = false

  private constructor(operation: Operation, path: Buffer, opened?: { fd: number; mount: string | undefined }) {
    this.#operation = operation
    this.#fd = opened?.fd
    this.#path = opened === undefined ? path : Buffer.from(`/proc/self/fd/${opened.fd}`)
    this.#mount = opened?.mount
  }

  /** Opens a folder by its path. Links on the way are followed: to be used only where no agent could put one. */
  static async open(operation: Operation, path: string): Promise<Folder> {
    return Folder.#open(operation, Buffer.from(path))
  }

  static async #open(operation: Operation, path: Buffer, within?: Folder): Promise<Folder> {
    if (operation.anchored) {
      const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW
      const fd = await operation.call((calls) => calls.open(path, flags), operation.drop)
      const folder = new Folder(operation, path, { fd, mount: await operation.calls.mountOf(fd) })
      if (within === undefined || folder.#mount === within.#mount) return folder
      folder.drop()
      throw new Refusal('mount', 'is in another file system')
    }
    const found = await operation.call((calls) => calls.lstat(path))
    if (!found.isDirectory()) throw wrongKind(kindOf(found))
    return new Folder(operation, path)
  }

  /** A folder in it. */
  async folder(name: Buffer): Promise<Folder> {
    try {
      return await this.#allowed(() => Folder.#open(this.#operation, this.at(name), this))
    } catch (error) {
      throw await this.#explained(name, error)
    }
  }

  /** The path of a name in it, for one call. */
  at(name: Buffer): Buffer {
    return Buffer.concat([this.#path, SLASH, name])
  }

  stat(): Promise<Stats> {
    const fd = this.#fd
    return this.#call((calls) => (fd === undefined ? calls.lstat(this.#path) : calls.fstat(fd)))
  }

  lstat(name: Buffer): Promise<Stats> {
    return this.#allowed(() => this.#call((calls) => calls.lstat(this.at(name))))
  }

  /** At most so many of its names. */
  list(limit: number): Promise<RawEntry[]> {
    return this.#allowed(() => this.#call((calls) => calls.list(this.#path, limit)))
  }

  /** Makes a folder in it, unless there is one, and opens it. */
  async make(name: Buffer): Promise<Folder> {
    try {
      return await this.folder(name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    await this.makeNew(name).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    })
    return this.folder(name)
  }

  makeNew(name: Buffer): Promise<void> {
    return this.#allowed(() => this.#call((calls) => calls.mkdir(this.at(name), OWNER_FOLDER)))
  }

  unlink(name: Buffer): Promise<void> {
    return this.#allowed(() => this.#call((calls) => calls.unlink(this.at(name))))
  }

  /** The same for several at once, which share the way to the disk and back. True for each that is gone. */
  unlinkAll(names: readonly Buffer[]): Promise<boolean[]> {
    const unlink = (calls: FileCalls, name: Buffer): Promise<boolean> =>
      calls.unlink(this.at(name)).then(
        () => true,
        () => false,
      )
    return this.#call((calls) => Promise.all(names.map((name) => unlink(calls, name))))
  }

  /** The bytes of several files; undefined for what cannot be looked at. */
  sizes(names: readonly Buffer[]): Promise<(number | undefined)[]> {
    const size = (calls: FileCalls, name: Buffer): Promise<number | undefined> =>
      calls.lstat(this.at(name)).then(
        (found) => (found.isFile() ? found.size : 0),
        () => undefined,
      )
    return this.#call((calls) => Promise.all(names.map((name) => size(calls, name))))
  }

  rmdir(name: Buffer): Promise<void> {
    return this.#allowed(() => this.#call((calls) => calls.rmdir(this.at(name))))
  }

  /** Moves a name of it into another folder. */
  rename(name: Buffer, to: Folder, newName: Buffer): Promise<void> {
    return this.#allowed(() => this.#call((calls) => calls.rename(this.at(name), to.at(newName))))
  }

  readlink(name: Buffer): Promise<Buffer> {
    return this.#allowed(() => this.#call((calls) => calls.readlink(this.at(name))))
  }

  symlink(target: RawPath, name: Buffer): Promise<void> {
    return this.#allowed(() => this.#call((calls) => calls.symlink(target, this.at(name))))
  }

  /** Opens a regular file for reading. Nothing else is ever opened, so that nothing waits for the process at the other end. */
  async read(name: Buffer): Promise<OpenFile> {
    return this.#file(name, O_RDONLY)
  }

  /** Opens a regular file, which is made if need be, for writing at its end. */
  async append(name: Buffer): Promise<number> {
    try {
      const { fd, stats } = await this.#file(name, O_WRONLY | O_APPEND)
      if (stats.nlink <= 1) return fd
      this.#operation.drop(fd)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return this.create(name)
    }
    throw new Refusal('link', 'has another name elsewhere')
  }

  /** Makes a new file, and opens it for writing. */
  create(name: Buffer): Promise<number> {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
    return this.#allowed(() =>
      this.#call((calls) => calls.open(this.at(name), flags, OWNER_FILE), this.#operation.drop),
    )
  }

  /** Sets its rights, which are to stay so. */
  setMode(mode: number): Promise<void> {
    this.#modeBefore = undefined
    return this.#call((calls) => calls.chmod(this.#path, mode & PLAIN_MODE))
  }

  /** Copies an open file to a new one in it. */
  copyHere(file: OpenFile, from: Folder, fromName: Buffer, name: Buffer): Promise<void> {
    const source = this.#operation.anchored ? `/proc/self/fd/${file.fd}` : from.at(fromName)
    return this.#call((calls) => calls.copyFile(source, this.at(name)))
  }

  /** Gives the owner's rights to it back to the owner. False where that changes nothing, or cannot be done. */
  async repair(): Promise<boolean> {
    if (this.#repaired) return false
    this.#repaired = true
    try {
      const { mode } = await this.stat()
      if ((mode & OWNER_FOLDER) === OWNER_FOLDER) return false
      await this.#call((calls) => calls.chmod(this.#path, (mode | OWNER_FOLDER) & 0o7777))
      this.#modeBefore = mode & 0o7777
      return true
    } catch (error) {
      if (error instanceof Refusal) throw error
      return false
    }
  }

  /** Rights that were given back for this work are taken again. */
  async close(): Promise<void> {
    const mode = this.#modeBefore
    if (mode !== undefined) await this.#call((calls) => calls.chmod(this.#path, mode)).catch(() => undefined)
    this.drop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Closes it, and leaves its rights as they are. */
  drop(): void {
    if (this.#fd !== undefined) this.#operation.drop(this.#fd)
  }

  async #file(name: Buffer, flags: number): Promise<OpenFile> {
    return this.#operation.anchored ? this.#anchoredFile(name, flags) : this.#pathFile(name, flags)
  }

  /** The name is opened first, without effect; then, if it is a file, the same file through its descriptor. */
  async #anchoredFile(name: Buffer, flags: number): Promise<OpenFile> {
    const place = await this.#allowed(() =>
      this.#call((calls) => calls.open(this.at(name), O_PATH | O_NOFOLLOW), this.#operation.drop),
    )
    try {
      const stats = await this.#call((calls) => calls.fstat(place))
      if (!stats.isFile()) throw wrongKind(kindOf(stats))
      const path = `/proc/self/fd/${place}`
      const open = (): Promise<number> =>
        this.#call((calls) => calls.open(path, flags | O_NONBLOCK), this.#operation.drop)
      const fd = await open().catch(async (error: unknown) => {
        if (!isDenied(error)) throw error
        const mode = stats.mode & 0o7777
        await this.#call((calls) => calls.chmod(path, mode | OWNER_FILE)).catch(() => {
          throw error
        })
        try {
          return await open()
        } finally {
          await this.#call((calls) => calls.chmod(path, mode)).catch(() => undefined)
        }
      })
      return { fd, stats }
    } finally {
      this.#operation.drop(place)
    }
  }

  async #pathFile(name: Buffer, flags: number): Promise<OpenFile> {
    const path = this.at(name)
    const found = await this.#call((calls) => calls.lstat(path))
    if (!found.isFile()) throw wrongKind(kindOf(found))
    const fd = await this.#call((calls) => calls.open(path, flags | O_NONBLOCK | O_NOFOLLOW), this.#operation.drop)
    try {
      const stats = await this.#call((calls) => calls.fstat(fd))
      if (stats.isFile() && stats.ino === found.ino && stats.dev === found.dev) return { fd, stats }
    } catch (error) {
      this.#operation.drop(fd)
      throw error
    }
    this.#operation.drop(fd)
    throw new Refusal('changed', 'was replaced meanwhile')
  }

  #call<T>(work: (calls: FileCalls) => Promise<T>, undo?: (result: T) => void): Promise<T> {
    return this.#operation.call(work, undo)
  }

  /** Does it again with the owner's rights to this folder given back, where their lack kept it from being done. */
  async #allowed<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!isDenied(error) || !(await this.repair())) throw error
      return await work()
    }
  }

  /** Linux says "no folder" of a link, too. */
  async #explained(name: Buffer, error: unknown): Promise<unknown> {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') return error
    const found = await this.lstat(name).catch(() => undefined)
    return found === undefined || found.isDirectory() ? error : wrongKind(kindOf(found))
  }
}

/** Ends a file that was written, with these rights if need be: what its disk refused late shows now. */
export async function closeWritten(operation: Operation, fd: number, mode?: number): Promise<void> {
  if (mode !== undefined) await operation.call((calls) => calls.fchmod(fd, mode & PLAIN_MODE))
  await operation.call((calls) => calls.close(fd))
}
