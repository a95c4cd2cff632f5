import type { EntryKind, RawEntry } from './calls.ts'
import type { Folder } from './folder.ts'
import type { Operation } from './operation.ts'
import { Refusal, isGeneral, isMissing } from './problem.ts'
import type { Problems } from './problem.ts'

/** Something in a tree. */
export interface Found {
  folder: Folder
  name: Buffer
  /** From the top of the tree, with `/`; for messages, where the name is no text. */
  path: string
  kind: EntryKind
}

/** What is asked of the disk at once: one way there and back is shared by so many. */
const GROUP = 32

export function* inGroups<T>(all: readonly T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += GROUP) yield all.slice(at, at + GROUP)
}

/** Whether a name survives as text. */
export const isText = (name: Buffer): boolean => Buffer.from(name.toString()).equals(name)

interface WalkContext {
  problems: Pick<Problems, 'note'>
  path?: string
  depth?: number
}

/**
 * Everything in a folder, a folder before what is in it. What cannot be entered is noted, and the walk goes on. Throws what
 * concerns all of it: bounds, and a host or disk at its end.
 */
export async function* walk(
  operation: Operation,
  folder: Folder,
  { problems, path = '', depth = 1 }: WalkContext,
): AsyncGenerator<Found> {
  for await (const { entries, ...place } of folders(operation, folder, { problems, path, depth })) {
    for (const { name, kind } of entries) {
      const below = place.path === '' ? name.toString() : `${place.path}/${name.toString()}`
      yield { folder: place.folder, name, path: below, kind }
    }
  }
}

/** A folder, and each folder in it, with their entries: the outer first. */
export async function* folders(
  operation: Operation,
  folder: Folder,
  { problems, path = '', depth = 1 }: WalkContext,
): AsyncGenerator<{ folder: Folder; path: string; entries: RawEntry[] }> {
  const entries = await folder.list(operation.entriesLeft + 1)
  operation.entries(entries.length)
  yield { folder, path, entries }
  for (const { name, kind } of entries) {
    if (kind !== 'folder') continue
    const below = path === '' ? name.toString() : `${path}/${name.toString()}`
    let inner: Folder | undefined
    try {
      if (depth >= operation.bounds.depth) throw new Refusal('too_deep', `lies more than ${depth} folders deep`)
      inner = await folder.folder(name)
      yield* folders(operation, inner, { problems, path: below, depth: depth + 1 })
    } catch (error) {
      if (isGeneral(error)) throw error
      if (!isMissing(error)) problems.note(below, error)
    } finally {
      await inner?.close()
    }
  }
}
