import { FilesError, StoreError, storeError } from '../errors.ts'
import type { FileProblem, FileProblemReason, PoolError } from '../errors.ts'
import type { EntryKind } from './calls.ts'

/** Something is not as it must be to be worked with. Stays within this folder: callers get a FileProblem or a FilesError. */
export class Refusal extends Error {
  readonly reason: FileProblemReason

  constructor(reason: FileProblemReason, detail: string) {
    super(detail)
    this.reason = reason
  }
}

const KINDS: Readonly<Record<EntryKind, string>> = {
  file: 'is a file',
  folder: 'is a folder',
  link: 'is a link, and links are not followed',
  special: 'is a FIFO, a socket or a device',
}

/** The refusal of something of another kind than asked for. */
export function wrongKind(kind: EntryKind): Refusal {
  return new Refusal(kind === 'link' || kind === 'special' ? kind : 'kind', KINDS[kind])
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code)

export const isMissing = (error: unknown): boolean => codeOf(error) === 'ENOENT'

/** Whether something else stands in the place of a folder. */
export const isNoFolder = (error: unknown): boolean =>
  error instanceof Refusal ? NO_FOLDER.has(error.reason) : codeOf(error) === 'ENOTDIR'

const NO_FOLDER: ReadonlySet<FileProblemReason> = new Set(['link', 'special', 'kind'])

const DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM'])

export const isDenied = (error: unknown): boolean => DENIED.has(codeOf(error))

/** The disk, or the host, is at its end: no other file would fare better. */
const EXHAUSTED: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM'])

const GENERAL: ReadonlySet<FileProblemReason> = new Set(['too_many', 'too_slow'])

/** Whether it concerns all of the work, and not one file. */
export const isGeneral = (error: unknown): boolean =>
  error instanceof StoreError || (error instanceof Refusal ? GENERAL.has(error.reason) : EXHAUSTED.has(codeOf(error)))

const REASONS: Readonly<Record<string, [FileProblemReason, string]>> = {
  EACCES: ['denied', 'may not be touched'],
  EPERM: ['denied', 'may not be touched'],
  ELOOP: ['link', KINDS.link],
  ENOTDIR: ['kind', 'is not a folder'],
  EISDIR: ['kind', KINDS.folder],
  EBUSY: ['mount', 'is in use: another file system may be mounted there'],
  EXDEV: ['mount', 'is in another file system'],
  ENAMETOOLONG: ['too_long', 'has a path that is too long'],
  EAGAIN: ['changed', 'is locked by another process'],
  ENOENT: ['changed', 'went away meanwhile'],
  ENOTEMPTY: ['changed', 'is filled by another process meanwhile'],
  EEXIST: ['changed', 'was made by another process meanwhile'],
  EILSEQ: ['name', 'has a name that this file system does not take'],
}

const LONGEST_SHOWN = 200

/** A path as messages show it: an agent may have put anything into it. */
function shown(path: string): string {
  const plain = path.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
  return plain.length <= LONGEST_SHOWN ? plain : `${plain.slice(0, 90)}…${plain.slice(-100)}`
}

function problemOf(path: string, error: unknown): FileProblem {
  if (error instanceof Refusal) return { path: shown(path), reason: error.reason, detail: error.message }
  const code = codeOf(error)
  const [reason, words] = REASONS[code] ?? ['failed', (error as Error).message]
  return { path: shown(path), reason, detail: REASONS[code] === undefined ? words : `${words} (${code})` }
}

const NAMED = 5

/** `a is a link; b is a folder; 3 more` */
function sentence(problems: readonly FileProblem[], count: number = problems.length): string {
  const named = problems.slice(0, NAMED).map(({ path, detail }) => `${path} ${detail}`)
  if (count > NAMED) named.push(`${count - NAMED} more`)
  return named.join('; ')
}

/** The error for work that one thing stopped. A full or read-only disk is the store's error, whatever met it first. */
export function failure(doing: string, path: string, error: unknown): PoolError {
  if (error instanceof FilesError || error instanceof StoreError) return error
  if (!(error instanceof Refusal) && EXHAUSTED.has(codeOf(error))) return storeError(`${doing} failed`, error)
  const problem = problemOf(path, error)
  return new FilesError('files_failed', `${doing} failed: ${sentence([problem])}`, [problem], { cause: error })
}

/** More than this need not be named one by one. */
const MOST_KEPT = 100

/** What was met on the way, while the work went on. */
export class Problems {
  readonly found: FileProblem[] = []
  count = 0

  note(path: string, error: unknown): void {
    this.add(problemOf(path, error))
  }

  /** Takes over what an error says of files. Throws any other error. */
  take(error: unknown): undefined {
    if (!(error instanceof FilesError)) throw error
    for (const problem of error.problems) this.add(problem)
  }

  add(problem: FileProblem): void {
    this.count += 1
    if (this.found.length < MOST_KEPT) this.found.push(problem)
  }

  /** Undefined where nothing was met. */
  error(code: 'files_failed' | 'files_left', message: string): FilesError | undefined {
    if (this.count === 0) return undefined
    return new FilesError(code, `${message}: ${sentence(this.found, this.count)}`, this.found)
  }
}
