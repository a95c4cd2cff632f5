import type { RawEntry } from './calls.ts'
import { PLAIN_MODE, closeWritten } from './folder.ts'
import type { Folder, OpenFile } from './folder.ts'
import type { Operation } from './operation.ts'
import { Refusal, isGeneral, isMissing, wrongKind } from './problem.ts'
import { BLOCK_BYTES, piecesIn } from './pieces.ts'
import type { Problems } from './problem.ts'

const OWNER_READS = 0o400

/** A larger file is copied in pieces: the time of one call must do also on a slow disk. */
const ONE_CALL_BYTES = 256 * 2 ** 20

/** One copy of a tree. */
interface CopyContext {
  operation: Operation
  problems: Problems
  /** Names at the top that stay behind. */
  except: ReadonlySet<string>
}

/** Copies a folder into a new one of this name. */
export async function copyTree(
  operation: Operation,
  source: Folder,
  parent: Folder,
  name: Buffer,
  { path, problems, except = new Set() }: { path: string; problems: Problems; except?: ReadonlySet<string> },
): Promise<void> {
  const { mode } = await source.stat()
  await parent.makeNew(name)
  const target = await parent.folder(name)
  try {
    await copyContents({ operation, problems, except }, source, target, { path })
    await target.setMode(mode | 0o700)
  } finally {
    target.drop()
  }
}

/**
 * Copies all that is in a folder into another one: files, folders and links as they are, less the right to run as their owner. What cannot be
 * copied is noted, and the work goes on. What goes away meanwhile is left out. Throws what concerns all of it.
 */
async function copyContents(
  context: CopyContext,
  from: Folder,
  to: Folder,
  { path, depth = 1 }: { path: string; depth?: number },
): Promise<void> {
  const { operation, problems, except } = context
  const entries = await from.list(operation.entriesLeft + 1)
  operation.entries(entries.length)
  for (const entry of entries) {
    const name = entry.name.toString()
    if (depth === 1 && except.has(name)) continue
    const below = `${path}/${name}`
    try {
      await copyEntry(context, from, to, entry, { path: below, depth })
    } catch (error) {
      if (isGeneral(error)) throw error
      if (!isMissing(error)) problems.note(below, error)
    }
  }
}

async function copyEntry(
  context: CopyContext,
  from: Folder,
  to: Folder,
  { name, kind }: RawEntry,
  { path, depth }: { path: string; depth: number },
): Promise<void> {
  if (kind === 'link') return to.symlink(await from.readlink(name), name)
  if (kind === 'file') return copyFile(context, from, to, name)
  if (kind !== 'folder') throw wrongKind(kind)
  const { bounds } = context.operation
  if (depth >= bounds.depth) throw new Refusal('too_deep', `lies more than ${depth} folders deep`)
  await using source = await from.folder(name)
  const { mode } = await source.stat()
  const target = await to.make(name)
  try {
    await copyContents(context, source, target, { path, depth: depth + 1 })
    // Last: nothing could be put into one that is not writable.
    await target.setMode(mode)
  } finally {
    target.drop()
  }
}

async function copyFile({ operation }: CopyContext, from: Folder, to: Folder, name: Buffer): Promise<void> {
  const file = await from.read(name)
  try {
    const { size, blocks, mode, uid } = file.stats
    if (operation.owner !== undefined && uid !== operation.owner) throw new Refusal('denied', 'belongs to another user')
    if (size > operation.bounds.fileBytes) throw new Refusal('too_large', `has ${size} bytes`)
    const onDisk = blocks * BLOCK_BYTES
    operation.bytes(Math.min(size, onDisk))
    // The system's own copy is the fastest, but has all rights and no holes, and opens the file anew.
    const isPlain =
      size <= ONE_CALL_BYTES && onDisk >= size && (mode & ~PLAIN_MODE & 0o7777) === 0 && (mode & OWNER_READS) !== 0
    if (isPlain) await to.copyHere(file, from, name, name)
    else await copyInPieces(operation, file, to, name)
  } finally {
    operation.drop(file.fd)
  }
}

/** A copy that has holes where the file has zeros, so that a file which takes no room takes none twice. */
async function copyInPieces(operation: Operation, file: OpenFile, to: Folder, name: Buffer): Promise<void> {
  const target = await to.create(name)
  try {
    let at = 0
    for await (const { data, bytes } of piecesIn(operation, file)) {
      if (data !== undefined) await operation.call((calls) => calls.write(target, data, at))
      at += bytes
    }
    await operation.call((calls) => calls.truncate(target, at))
  } catch (error) {
    operation.drop(target)
    throw error
  }
  await closeWritten(operation, target, file.stats.mode)
}
