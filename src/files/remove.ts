import { randomUUID } from 'node:crypto'
import type { EntryKind, RawEntry } from './calls.ts'
import type { Folder } from './folder.ts'
import type { Operation } from './operation.ts'
import { Refusal, isGeneral, isMissing } from './problem.ts'
import { inGroups } from './walk.ts'
import type { Problems } from './problem.ts'

/** Names that are taken from a folder at a time. */
const NAMES_AT_ONCE = 1_000

/** Each level keeps a descriptor open, or makes the path longer. What lies deeper is first moved up. */
const DEEPEST = 32
const DEEPEST_BY_PATH = 2

/** An agent that still runs may fill a folder as fast as it is emptied. */
const MAX_PASSES = 5

/** Of one folder. More of them, and the rest is left for the next time. */
const MAX_STUCK = 10_000

/** `missing`: it was not there when it was to be removed. */
type Outcome = 'gone' | 'missing' | 'stuck'

const GHOST = new Refusal('failed', 'is still there, though the file system says it is not')

/** What is known of the thing to be removed. */
interface At {
  depth?: number
  kind?: EntryKind
}

/** One removal: what is met that cannot be removed is noted, and all else goes. */
class Removal {
  readonly #operation: Operation
  readonly #problems: Problems
  #top: Folder | undefined

  constructor(operation: Operation, problems: Problems) {
    this.#operation = operation
    this.#problems = problems
  }

  /** Removes what has this name, whatever it is. Throws only what ends the whole removal. */
  async remove(parent: Folder, name: Buffer, path: string, { depth = 0, kind }: At = {}): Promise<Outcome> {
    try {
      const isFolder = kind === undefined ? (await parent.lstat(name)).isDirectory() : kind === 'folder'
      if (isFolder) return (await this.#removeFolder(parent, name, path, depth)) ? 'gone' : 'stuck'
      await parent.unlink(name)
      return 'gone'
    } catch (error) {
      return this.#stays(path, error)
    }
  }

  #stays(path: string, error: unknown): Outcome {
    if (isMissing(error)) return 'missing'
    if (isGeneral(error)) throw error
    this.#problems.note(path, error)
    return 'stuck'
  }

  async #removeFolder(parent: Folder, name: Buffer, path: string, depth: number): Promise<boolean> {
    for (let pass = 1; ; pass += 1) {
      if (!(await this.#empty(parent, name, path, depth))) return false
      try {
        await parent.rmdir(name)
        return true
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY' || pass === MAX_PASSES) throw error
      }
    }
  }

  /** Removes what is in a folder. True when all of it is gone. */
  async #empty(parent: Folder, name: Buffer, path: string, depth: number): Promise<boolean> {
    const folder = await parent.folder(name)
    const top = (this.#top ??= folder)
    try {
      const stuck = new Set<string>()
      const missing = new Set<string>()
      for (;;) {
        const entries = await folder.list(NAMES_AT_ONCE + stuck.size)
        const left = entries.filter((entry) => !stuck.has(entry.name.toString('latin1')))
        if (left.length === 0) return stuck.size === 0
        for (const entry of await this.#unlink(folder, left)) {
          const name = entry.name.toString('latin1')
          const outcome = await this.#removeEntry(folder, entry, path, { top, depth })
          if (outcome === 'gone' || (outcome === 'missing' && !missing.has(name))) {
            if (outcome === 'missing') missing.add(name)
            continue
          }
          // Some file systems list what they say is not there.
          if (outcome === 'missing') this.#problems.note(`${path}/${entry.name.toString()}`, GHOST)
          if (stuck.size >= MAX_STUCK) throw new Refusal('too_many', `has more than ${MAX_STUCK} things that stay`)
          stuck.add(name)
        }
      }
    } finally {
      if (this.#top === folder) this.#top = undefined
      folder.drop()
    }
  }

  /** Removes most of what is no folder, many at a time; gives what is left to be done one by one. */
  async #unlink(folder: Folder, entries: RawEntry[]): Promise<RawEntry[]> {
    const rest = entries.filter(({ kind }) => kind === 'folder')
    for (const group of inGroups(entries.filter(({ kind }) => kind !== 'folder'))) {
      const gone = await folder.unlinkAll(group.map(({ name }) => name))
      rest.push(...group.filter((_, index) => gone[index] !== true))
    }
    return rest
  }

  async #removeEntry(
    folder: Folder,
    { name, kind }: RawEntry,
    path: string,
    { top, depth }: { top: Folder; depth: number },
  ): Promise<Outcome> {
    const below = `${path}/${name.toString()}`
    const deepest = this.#operation.anchored ? DEEPEST : DEEPEST_BY_PATH
    if (kind === 'folder' && depth + 1 >= deepest) return this.#moveUp(folder, name, below, top)
    return this.remove(folder, name, below, { depth: depth + 1, kind })
  }

  /** Moves a deep folder to the top of what is removed, where its turn comes. */
  async #moveUp(folder: Folder, name: Buffer, path: string, top: Folder): Promise<Outcome> {
    const move = (): Promise<void> => folder.rename(name, top, Buffer.from(`.removed-${randomUUID()}`))
    try {
      await move().catch(async (error: unknown) => {
        // To be moved, a folder must be writable itself.
        const own = await folder.folder(name)
        if (!(await own.repair().finally(() => own.drop()))) throw error
        await move()
      })
      return 'gone'
    } catch (error) {
      return this.#stays(path, error)
    }
  }
}

/** Removes what has this name, with all that is in it. What stays is noted in `problems`. Throws nothing. */
export async function removeTree(
  operation: Operation,
  parent: Folder,
  name: Buffer,
  { path, problems }: { path: string; problems: Problems },
): Promise<void> {
  try {
    const before = problems.count
    await new Removal(operation, problems).remove(parent, name, path)
    if (problems.count === before && (await isThere(parent, name))) throw GHOST
  } catch (error) {
    problems.note(path, error)
  }
}

async function isThere(parent: Folder, name: Buffer): Promise<boolean> {
  try {
    await parent.lstat(name)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}
