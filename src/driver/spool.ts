import { mkdirSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'

/** How much is read back at once. */
const READ_BYTES = 64 * 1024

/** A first-in first-out of bytes on disk, for output that is not read yet. The file exists only while it holds something. */
export class Spool {
  readonly #path: string
  readonly #limitBytes: number
  #file: FileHandle | undefined
  #written = 0
  #read = 0
  /** One for all reads: a new one for each would pile up until the collector comes round. */
  #buffer: Buffer | undefined

  constructor(path: string, limitBytes: number) {
    this.#path = path
    this.#limitBytes = limitBytes
  }

  /** Bytes written and not read back. */
  get pendingBytes(): number {
    return this.#written - this.#read
  }

  /** True when the file has reached its limit: no more is taken until it was read back whole. */
  get full(): boolean {
    return this.#written >= this.#limitBytes
  }

  /** Takes these, in order. */
  async write(...pieces: Uint8Array[]): Promise<void> {
    if (this.#file === undefined) {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 })
      this.#file = await open(this.#path, 'w+', 0o600)
    }
    const { bytesWritten } = await this.#file.writev(pieces, this.#written)
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
    if (bytesWritten < bytes) throw new Error(`the disk took ${bytesWritten} of ${bytes} bytes`)
    this.#written += bytesWritten
  }

  /** The next bytes, oldest first, to be used before the next read; undefined when there are none. With the last the file goes. */
  async read(): Promise<Buffer | undefined> {
    if (this.#file === undefined) return undefined
    const length = Math.min(READ_BYTES, this.pendingBytes)
    const buffer = (this.#buffer ??= Buffer.allocUnsafeSlow(READ_BYTES))
    const { bytesRead } = await this.#file.read(buffer, 0, length, this.#read)
    if (bytesRead === 0) throw new Error(`the spool ${this.#path} ends ${this.pendingBytes} bytes early`)
    this.#read += bytesRead
    if (this.pendingBytes === 0) await this.close()
    return buffer.subarray(0, bytesRead)
  }

  /** Gives up what it holds and removes the file. */
  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#buffer = undefined
    this.#written = 0
    this.#read = 0
    if (file === undefined) return
    await file.close()
    await rm(this.#path, { force: true })
  }
}
