import { nodeCalls } from './calls.ts'

/** Files kept open; beyond these the one unused for longest is closed. */
const MOST = 64

/** Files that are read again and again as they grow: the way to one costs more than its newest lines. Each is open once, or in use. */
export class OpenFiles {
  /** By path, the one unused for longest first. */
  readonly #files = new Map<string, number>()

  /** The descriptor of this file, if it is open and not in use. Who takes it gives it back, or closes it. */
  take(path: string): number | undefined {
    const fd = this.#files.get(path)
    this.#files.delete(path)
    return fd
  }

  give(path: string, fd: number): void {
    this.#close(path)
    this.#files.set(path, fd)
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= MOST) break
      this.#close(oldest)
    }
  }

  /** Closes this file, and all in the folder of this name. */
  forget(path: string): void {
    for (const open of this.#files.keys()) if (open === path || open.startsWith(`${path}/`)) this.#close(open)
  }

  close(): void {
    for (const path of this.#files.keys()) this.#close(path)
  }

  #close(path: string): void {
    const fd = this.take(path)
    if (fd !== undefined) nodeCalls.drop(fd)
  }
}
