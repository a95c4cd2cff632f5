import { constants } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ApiError } from '../../errors.ts'
import { folderOf } from '../../../tenant-folder.ts'

/** Of one that is being written. */
const PARTIAL = '.partial'

/** Of a stream, in memory. */
const PIECE_BYTES = 64 * 1024

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** The contents of files and skills, on the disk of this host: one folder for each tenant, one file for each id. */
export class FileContents {
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
  }

  /**
   * Writes a new file from pieces; resolves with its size when it is durable. Nothing is left of one that fails. `admit` is told of
   * each piece before it is written, and may throw.
   */
  async write(
    tenant: string,
    id: string,
    pieces: AsyncIterable<Buffer>,
    admit: (bytes: number) => void,
  ): Promise<number> {
    const folder = this.#folder(tenant)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const path = join(folder, id)
    const partial = path + PARTIAL
    const file = await open(
      partial,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    )
    let size = 0
    try {
      for await (const piece of pieces) {
        admit(piece.length)
        size += piece.length
        // A write may take less than it is given.
        await file.writeFile(piece)
      }
      await file.sync()
      await file.close()
      await rename(partial, path)
      return size
    } catch (error) {
      await file.close().catch(() => undefined)
      await unlink(partial).catch(() => undefined)
      if (codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT')
        throw new ApiError('api_error', 'the server has no room for this file', { cause: error })
      throw error
    }
  }

  /** A stream of the content, or of a part of it; undefined if this host does not have it. */
  async read(
    tenant: string,
    id: string,
    part?: { start: number; bytes: number },
  ): Promise<{ size: number; stream: ReadStream } | undefined> {
    try {
      const file = await open(join(this.#folder(tenant), id), constants.O_RDONLY | constants.O_NOFOLLOW)
      const { size } = await file.stat()
      const range = part === undefined ? {} : { start: part.start, end: part.start + part.bytes - 1 }
      return { size, stream: file.createReadStream({ highWaterMark: PIECE_BYTES, ...range }) }
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    }
  }

  async remove(tenant: string, id: string): Promise<void> {
    await unlink(join(this.#folder(tenant), id)).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error
    })
  }

  /** Removes all that this host has of a tenant. */
  async clear(tenant: string): Promise<void> {
    const folder = this.#folder(tenant)
    for (const name of await readdir(folder).catch(() => [])) await this.remove(tenant, name)
  }

  /** Removes what has such an id, is not known and was last written before that time: what a host that ended has left. */
  async sweep(tenant: string, prefix: string, known: ReadonlySet<string>, before: number): Promise<void> {
    const folder = this.#folder(tenant)
    const names = await readdir(folder).catch(() => [])
    for (const name of names) {
      if (known.has(name) || !name.startsWith(prefix)) continue
      const path = join(folder, name)
      const found = await stat(path).catch(() => undefined)
      if (found !== undefined && found.mtimeMs < before) await unlink(path).catch(() => undefined)
    }
  }

  #folder(tenant: string): string {
    return join(this.#dir, folderOf(tenant))
  }
}
