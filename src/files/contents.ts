import { PLAIN_MODE } from './folder.ts'
import type { Folder } from './folder.ts'
import type { Operation } from './operation.ts'
import { BLOCK_BYTES, piecesIn } from './pieces.ts'
import { Refusal, isGeneral, isMissing, wrongKind } from './problem.ts'
import type { Problems } from './problem.ts'
import { isText, walk } from './walk.ts'

/** A piece of a file, in order; or of one that is all zeros, its length; or a link. `path` begins below what was asked for, and has `/` on every system. */
export type Content =
  | { kind: 'file'; path: string; mode: number; data: Buffer }
  | { kind: 'hole'; path: string; mode: number; bytes: number }
  | { kind: 'link'; path: string; target: string }

const unreadable = (name: Buffer): Refusal | undefined =>
  isText(name) ? undefined : new Refusal('name', 'has a name that is no text')

/** All files and links in a folder. What cannot be read is noted, and the work goes on. Each piece is to be used before the next. */
export async function* contentsOf(
  operation: Operation,
  folder: Folder,
  { path: top, problems }: { path: string; problems: Problems },
): AsyncGenerator<Content> {
  const inner = new PrefixedProblems(top, problems)
  for await (const { folder: parent, name, path, kind } of walk(operation, folder, { problems: inner })) {
    if (kind === 'folder') continue
    try {
      const refusal = unreadable(name)
      if (refusal !== undefined) throw refusal
      if (kind === 'file') yield* piecesOf(operation, parent, name, path)
      else if (kind === 'link') yield { kind, path, target: textOf(await parent.readlink(name)) }
      else throw wrongKind(kind)
    } catch (error) {
      if (isGeneral(error)) throw error
      if (!isMissing(error)) inner.note(path, error)
    }
  }
}

/** One file in pieces, at least one. */
export async function* piecesOf(
  operation: Operation,
  folder: Folder,
  name: Buffer,
  path: string,
): AsyncGenerator<Content> {
  const file = await folder.read(name)
  const { fd, stats } = file
  try {
    if (stats.size > operation.bounds.fileBytes) throw new Refusal('too_large', `has ${stats.size} bytes`)
    const mode = stats.mode & PLAIN_MODE
    operation.bytes(Math.min(stats.size, stats.blocks * BLOCK_BYTES))
    if (stats.size === 0) yield { kind: 'file', path, mode, data: Buffer.alloc(0) }
    for await (const { data, bytes } of piecesIn(operation, file)) {
      if (data === undefined) yield { kind: 'hole', path, mode, bytes }
      else yield { kind: 'file', path, mode, data }
    }
  } finally {
    operation.drop(fd)
  }
}

function textOf(target: Buffer): string {
  if (isText(target)) return target.toString()
  throw new Refusal('name', 'is a link to a name that is no text')
}

/** Notes with the path of the whole before that in it. */
class PrefixedProblems {
  readonly #top: string
  readonly #problems: Problems

  constructor(top: string, problems: Problems) {
    this.#top = top
    this.#problems = problems
  }

  note(path: string, error: unknown): void {
    this.#problems.note(`${this.#top}/${path}`, error)
  }
}
