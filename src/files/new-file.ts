import { closeWritten } from './folder.ts'
import type { Folder } from './folder.ts'
import type { Operation } from './operation.ts'
import { failure } from './problem.ts'
import { nameOf } from './places.ts'
import type { Place } from './places.ts'

/** A new file that is being written. After an error it is given up. */
export class NewFile {
  readonly #operation: Operation
  readonly #parent: Folder
  readonly #place: Place
  readonly #fd: number
  #size = 0

  private constructor(operation: Operation, parent: Folder, place: Place, fd: number) {
    this.#operation = operation
    this.#parent = parent
    this.#place = place
    this.#fd = fd
  }

  /** Makes it in that folder, which it closes at its end, as it ends the operation. */
  static async make(operation: Operation, parent: Folder, place: Place): Promise<NewFile> {
    try {
      return new NewFile(operation, parent, place, await parent.create(nameOf(place)))
    } catch (error) {
      parent.drop()
      throw error
    }
  }

  async write(data: Buffer): Promise<void> {
    await this.#step(() => this.#operation.call((calls) => calls.write(this.#fd, data, this.#size)))
    this.#size += data.length
  }

  /** Adds so many zeros, which take no room. */
  async skip(bytes: number): Promise<void> {
    await this.#step(() => this.#operation.call((calls) => calls.truncate(this.#fd, this.#size + bytes)))
    this.#size += bytes
  }

  /** Ends it, and gives it these rights: none of them to run as its owner. */
  async close(mode: number): Promise<void> {
    await this.#step(() => closeWritten(this.#operation, this.#fd, mode))
    this.#end()
  }

  /** Gives it up as it is. */
  drop(): void {
    this.#operation.drop(this.#fd)
    this.#end()
  }

  #end(): void {
    this.#parent.drop()
    this.#operation[Symbol.dispose]()
  }

  async #step<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.drop()
      throw failure('writing a file', this.#place.path, error)
    }
  }
}
