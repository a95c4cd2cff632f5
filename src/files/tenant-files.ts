import { basename, dirname } from 'node:path'
import { kindOf, nodeCalls } from './calls.ts'
import type { EntryKind } from './calls.ts'
import { contentsOf, piecesOf } from './contents.ts'
import type { Content } from './contents.ts'
import { copyTree } from './copy.ts'
import { Folder } from './folder.ts'
import { linesFromEnd, linesFromStart } from './lines.ts'
import type { Line, LineBounds } from './lines.ts'
import { NewFile } from './new-file.ts'
import type { Bounds, Operation } from './operation.ts'
import { ownTree } from './own-tree.ts'
import { OpenFiles } from './open-files.ts'
import { Places, nameOf } from './places.ts'
import type { FilesParts, Place } from './places.ts'
import { Problems, failure, isGeneral, isMissing, isNoFolder, wrongKind } from './problem.ts'
import { removeTree } from './remove.ts'
import { folders, inGroups, isText, walk } from './walk.ts'
import { textIn, write } from './whole-file.ts'

/** What is known of one file or folder. */
export interface FileFacts {
  kind: EntryKind
  /** Bytes. */
  size: number
  /** Milliseconds since the epoch. */
  mtimeMs: number
}

/** One name in a folder. Names that are no text are left out. */
export interface FileEntry {
  name: string
  kind: EntryKind
}

/** What is read of a growing file at a time: a turn without long answers writes less. */
const TAIL_BYTES = 64 * 1024

type Work<T> = (operation: Operation, place: Place) => Promise<T>

/** A workspace of many small files takes its time on a busy machine. */
const COPY_MS = 60 * 60_000

/** The owner's rights to a folder: all, and those without which no process can work there. */
const OWNER = 0o700
const ENTER = 0o500

const ENDLESS = { totalMs: Infinity, entries: Infinity, totalBytes: Infinity, fileBytes: Infinity }

/**
 * The only way to files that agents, archives or other processes of a tenant may have made. Paths are absolute and lie in the folder of one
 * tenant below `base`, which is the host's own. No link is followed, nothing but regular files is opened, size, count,
 * depth and time are bounded, and rights that an agent took from its own files are given back for the work. Each operation takes and
 * gives plain values, so that another process can do it. Errors are FilesError, or StoreError for a disk that is full or read-only.
 */
export class TenantFiles {
  readonly #places: Places
  readonly #growing = new OpenFiles()

  constructor(base: string, parts: FilesParts = {}) {
    this.#places = new Places(base, parts)
  }

  /** Undefined where there is nothing. */
  facts(path: string): Promise<FileFacts | undefined> {
    return this.#find('looking at a file', path, async (operation, place) => {
      await using parent = await this.#places.parent(operation, place)
      const found = await parent.lstat(nameOf(place))
      return { kind: kindOf(found), size: found.size, mtimeMs: found.mtimeMs }
    })
  }

  /** Undefined where there is nothing. Throws FilesError for what is no folder. */
  async folderAt(path: string): Promise<'folder' | undefined> {
    const found = await this.facts(path)
    if (found === undefined || found.kind === 'folder') return found && 'folder'
    throw failure('using a folder', path, wrongKind(found.kind))
  }

  /** What is in a folder; nothing where it is not there, or something else is: a link is no way to a tenant's folder. */
  async list(path: string): Promise<FileEntry[]> {
    const entries = await this.#find('listing a folder', path, async (operation, place) => {
      try {
        await using folder = await this.#places.open(operation, place)
        return await folder.list(operation.bounds.entries)
      } catch (error) {
        if (isNoFolder(error)) return []
        throw error
      }
    })
    const texts = (entries ?? []).filter(({ name }) => isText(name))
    return texts.map(({ name, kind }) => ({ name: name.toString(), kind }))
  }

  /** The paths of all files in a folder, from it on and with `/`; none where it is not there. What cannot be entered is noted. */
  async names(path: string, problems: Problems): Promise<string[]> {
    const names: string[] = []
    await this.#note(path, problems, async (operation, place) => {
      await using folder = await this.#places.open(operation, place)
      for await (const { name, path: below, kind } of walk(operation, folder, { problems }))
        if (kind === 'file' && isText(name)) names.push(below)
    })
    return names
  }

  /** All files in a folder and in the folders in it; none where it is not there. Throws FilesError for more than `most` entries. */
  async files(
    path: string,
    problems: Problems,
    most: number,
  ): Promise<{ path: string; size: number; modifiedAt: number }[]> {
    const files: { path: string; size: number; modifiedAt: number }[] = []
    const found = this.#find(
      'listing files',
      path,
      async (operation, place) => {
        await using folder = await this.#places.open(operation, place)
        for await (const { folder: parent, name, path: below, kind } of walk(operation, folder, { problems })) {
          if (kind !== 'file' || !isText(name)) continue
          const { size, mtimeMs } = await parent.lstat(name)
          files.push({ path: below, size, modifiedAt: mtimeMs })
        }
      },
      { entries: most },
    )
    await found
    return files
  }

  /** The text of a small file; undefined where there is none. */
  text(path: string, maxBytes: number): Promise<string | undefined> {
    return this.#find('reading a file', path, async (operation, place) => {
      await using parent = await this.#places.parent(operation, place)
      const { fd } = await parent.read(nameOf(place))
      try {
        return await textIn(operation, fd, maxBytes)
      } finally {
        operation.drop(fd)
      }
    })
  }

  /** The lines of a file, from either end; none where there is no file. */
  async *lines(path: string, bounds: LineBounds & { from: 'start' | 'end' }): AsyncGenerator<Line> {
    const place = this.#places.locate(path)
    using operation = this.#places.operation(place)
    try {
      await using parent = await this.#places.parent(operation, place)
      const file = await parent.read(nameOf(place))
      try {
        bounds.opened?.(file.stats.size)
        yield* (bounds.from === 'start' ? linesFromStart : linesFromEnd)(operation, file, bounds)
      } finally {
        operation.drop(file.fd)
      }
    } catch (error) {
      if (!isMissing(error)) throw failure('reading a file', place.path, error)
    }
  }

  /**
   * What a growing file has from this offset on, and its size. The file stays open for the next time, until it is removed here. Undefined for a file
   * that is gone, that has grown by more than is read at once, or that the host may not open itself: `lines()` tells more.
   */
  async tail(path: string, from: number): Promise<{ data: Buffer; size: number } | undefined> {
    return this.#find('reading a file', path, async (operation, place) => {
      if (operation.calls !== nodeCalls) return undefined
      const fd = this.#growing.take(place.path) ?? (await this.#openToRead(operation, place))
      let isThere = false
      try {
        const buffer = Buffer.allocUnsafe(TAIL_BYTES)
        const [{ nlink }, count] = await operation.call((calls) =>
          Promise.all([calls.fstat(fd), calls.read(fd, buffer, from)]),
        )
        isThere = nlink > 0
        return isThere && count < TAIL_BYTES ? { data: buffer.subarray(0, count), size: from + count } : undefined
      } finally {
        if (isThere) this.#growing.give(place.path, fd)
        else operation.drop(fd)
      }
    })
  }

  async #openToRead(operation: Operation, place: Place): Promise<number> {
    await using parent = await this.#places.parent(operation, place)
    const { fd } = await parent.read(nameOf(place))
    return fd
  }

  /** Closes what it keeps open. */
  close(): void {
    this.#growing.close()
  }

  /** Makes a folder with its parents, unless it is there. */
  makeFolder(path: string): Promise<void> {
    return this.#do('making a folder', path, async (operation, place) => {
      const folder = await this.#places.make(operation, place)
      folder.drop()
    })
  }

  /** Makes folders in one, unless they are there, and that one, too. */
  makeFolders(path: string, names: readonly string[]): Promise<void> {
    return this.#do('making a folder', path, async (operation, place) => {
      await using folder = await this.#places.make(operation, place)
      for (const name of names) {
        const made = await folder.make(Buffer.from(name)).catch((error: unknown) => {
          throw failure('making a folder', `${place.path}/${name}`, error)
        })
        made.drop()
      }
    })
  }

  /**
   * Makes a folder with its parents if it is missing. Gives the owner the rights to read and enter it back for good. True if it
   * was made. Throws FilesError for what is no folder.
   */
  restoreFolder(path: string): Promise<boolean> {
    return this.#do('restoring a folder', path, async (operation, place) => {
      await using parent = await this.#places.makeParent(operation, place)
      const found = await parent.lstat(nameOf(place)).catch((error: unknown) => {
        if (!isMissing(error)) throw error
        return undefined
      })
      if (found === undefined) {
        await parent.makeNew(nameOf(place))
        return true
      }
      await using folder = await parent.folder(nameOf(place))
      if ((found.mode & ENTER) !== ENTER) await folder.setMode(found.mode | OWNER)
      return false
    })
  }

  /** Adds text to a file, which is made if need be, with its folders. */
  append(path: string, text: string): Promise<void> {
    return this.#do('writing a file', path, async (operation, place) => {
      await using parent = await this.#places.makeParent(operation, place)
      await write(operation, await parent.append(nameOf(place)), [text])
    })
  }

  /** Puts a file in the place of what is there, as a whole. */
  replace(path: string, pieces: Iterable<string>): Promise<void> {
    return this.#do('writing a file', path, async (operation, place) => {
      await using parent = await this.#places.makeParent(operation, place)
      const unfinished = Buffer.concat([nameOf(place), Buffer.from('.unfinished')])
      await parent.unlink(unfinished).catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
      await write(operation, await parent.create(unfinished), pieces)
      await parent.rename(unfinished, parent, nameOf(place))
    })
  }

  /** Makes a new file, with its folders. Fails where there is one. */
  async create(path: string): Promise<NewFile> {
    const place = this.#places.locate(path)
    const operation = this.#places.operation(place)
    try {
      return await NewFile.make(operation, await this.#places.makeParent(operation, place), place)
    } catch (error) {
      operation[Symbol.dispose]()
      throw failure('writing a file', place.path, error)
    }
  }

  /** Makes a link, with its folders. Fails where something is. */
  link(path: string, target: string): Promise<void> {
    return this.#do('making a link', path, async (operation, place) => {
      await using parent = await this.#places.makeParent(operation, place)
      await parent.symlink(target, nameOf(place))
    })
  }

  /**
   * Removes what is there, whatever it is, and resolves when it is gone. What stays is noted in `problems`, and the removal can
   * be repeated. Nothing there is no problem, and behind a link on the way there is nothing of the tenant's.
   */
  async remove(path: string, problems: Problems): Promise<void> {
    await this.#note(path, problems, async (operation, place) => {
      this.#growing.forget(place.path)
      // A network file system may say once that what is there is not: what stays would be no session's any more.
      const look = (): Promise<Folder | undefined> => this.#parentIfAny(operation, place)
      const parent = (await look()) ?? (await look())
      if (parent === undefined) return
      await removeTree(operation, parent, nameOf(place), { path: place.path, problems }).finally(() => parent.drop())
    })
  }

  async #parentIfAny(operation: Operation, place: Place): Promise<Folder | undefined> {
    try {
      return await this.#places.parent(operation, place)
    } catch (error) {
      if (!isMissing(error) && !isNoFolder(error)) throw error
      return undefined
    }
  }

  /** The same. Throws FilesError for what stays. */
  async erase(path: string): Promise<void> {
    const problems = new Problems()
    await this.remove(path, problems)
    const left = problems.error('files_left', 'not all files could be removed')
    if (left !== undefined) throw left
  }

  /** Removes a folder if nothing is in it. Never fails: one that stays is found by a later look. */
  async removeIfEmpty(path: string): Promise<void> {
    await this.#do('removing a folder', path, async (operation, place) => {
      await using parent = await this.#places.parent(operation, place)
      await parent.rmdir(nameOf(place))
    }).catch(() => undefined)
  }

  /** Bytes of a file, or of all files in a folder; 0 where there is nothing. What cannot be counted is noted. */
  async size(path: string, problems: Problems): Promise<number> {
    let bytes = 0
    await this.#note(path, problems, async (operation, place) => {
      await using parent = await this.#places.parent(operation, place)
      const found = await parent.lstat(nameOf(place))
      if (found.isFile()) bytes = found.size
      if (!found.isDirectory()) return
      await using folder = await parent.folder(nameOf(place))
      for await (const { folder: inner, entries } of folders(operation, folder, { problems, path: place.path })) {
        const files = entries.filter(({ kind }) => kind === 'file').map(({ name }) => name)
        for (const group of inGroups(files)) for (const size of await inner.sizes(group)) bytes += size ?? 0
      }
    })
    return bytes
  }

  /**
   * All files and links: those in a folder, or the one file that is there. What cannot be read is noted, and the work goes on. Throws
   * FilesError for too many, too much or too slow. Each piece is to be used before the next. `only`: what is something else is noted.
   */
  async *contents(
    path: string,
    problems: Problems,
    { only }: { only?: 'file' | 'folder' } = {},
  ): AsyncGenerator<Content> {
    const place = this.#places.locate(path)
    using operation = this.#places.operation(place, { totalMs: Infinity })
    try {
      await using parent = await this.#places.parent(operation, place)
      const kind = kindOf(await parent.lstat(nameOf(place)))
      if (only !== undefined && kind !== only) throw wrongKind(kind)
      if (kind === 'file') yield* piecesOf(operation, parent, nameOf(place), '')
      else if (kind !== 'folder') throw wrongKind(kind)
      if (kind !== 'folder') return
      await using folder = await parent.folder(nameOf(place))
      yield* contentsOf(operation, folder, { path: place.path, problems })
    } catch (error) {
      if (isGeneral(error)) throw failure('reading files', place.path, error)
      if (!isMissing(error)) problems.note(place.path, error)
    }
  }

  /** Copies a folder to a new one. What cannot be copied is noted. Throws FilesError for too many, too much or too slow. */
  copy(from: string, to: string, problems: Problems): Promise<void> {
    return this.#do(
      'copying files',
      from,
      async (operation, place) => {
        const target = this.#places.locate(to)
        await using source = await this.#places.open(operation, place)
        await using parent = await this.#places.makeParent(operation, target)
        await copyTree(operation, source, parent, nameOf(target), { path: place.path, problems })
      },
      { totalMs: COPY_MS },
    )
  }

  /** The same to a place of the host's own; names in `except` stay behind. All there is is copied, however much. */
  async copyOut(
    from: string,
    to: string,
    { problems, except }: { problems: Problems; except: ReadonlySet<string> },
  ): Promise<void> {
    const place = this.#places.locate(from)
    using operation = this.#places.operationOfHost(place, ENDLESS)
    try {
      await using source = await this.#places.open(operation, place)
      await using parent = await Folder.open(operation, dirname(to))
      await copyTree(operation, source, parent, Buffer.from(basename(to)), { path: place.path, problems, except })
    } catch (error) {
      if (!isMissing(error)) throw failure('copying files', place.path, error)
    }
  }

  /** Gives what a user has in a tenant's folder to another one. Throws FilesError, and can be repeated then. */
  async giveTo(path: string, users: { from: number; to: number }): Promise<void> {
    const place = this.#places.locate(path)
    using operation = this.#places.operationOfHost(place, ENDLESS)
    try {
      await ownTree(operation, path, users)
    } catch (error) {
      throw failure('changing the owner of files', place.path, error)
    }
  }

  async #do<T>(doing: string, path: string, work: Work<T>, bounds?: Partial<Bounds>): Promise<T> {
    const place = this.#places.locate(path)
    using operation = this.#places.operation(place, bounds)
    try {
      return await work(operation, place)
    } catch (error) {
      throw failure(doing, place.path, error)
    }
  }

  /** The same; undefined where there is nothing. */
  #find<T>(doing: string, path: string, work: Work<T>, bounds?: Partial<Bounds>): Promise<T | undefined> {
    const find: Work<T | undefined> = (operation, place) =>
      work(operation, place).catch((error: unknown) => {
        if (!isMissing(error)) throw error
        return undefined
      })
    return this.#do(doing, path, find, bounds)
  }

  /** The same; what goes wrong is noted. */
  async #note(path: string, problems: Problems, work: Work<void>): Promise<void> {
    if (await this.#places.isElsewhere(path, problems)) return
    const place = this.#places.locate(path)
    using operation = this.#places.operation(place)
    try {
      await work(operation, place)
    } catch (error) {
      if (!isMissing(error)) problems.note(place.path, error)
    }
  }
}
