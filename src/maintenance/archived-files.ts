import { join, sep } from 'node:path'
import { ArchiveError, FilesError } from '../errors.ts'
import type { NewFile } from '../files/new-file.ts'
import type { TenantFiles } from '../files/tenant-files.ts'

/** Where the files of an archive belong: a transcript to its conversation, the rest to the workspace that the pool makes. */
export interface ArchiveRoots {
  transcript: { folder: string; sessionId: string } | undefined
  workspace: string | undefined
}

/** A piece of a file as an archive has it. */
export interface ArchivedPiece {
  in: 'transcript' | 'workspace'
  name: string
  mode: number
}

const MAX_FILES = 1_000_000
const MAX_DEPTH = 100
const MAX_NAME_BYTES = 255

/** What went wrong that is the archive's own fault: a name that comes twice, or a file that is a folder elsewhere. */
const OF_THE_ARCHIVE = new Set(['changed', 'kind', 'name', 'too_long'])

/** Files of an archive on their way in. Anybody may have made it: names, links and rights are taken for what they may do. */
export class ArchivedFiles {
  readonly #files: TenantFiles
  readonly #roots: ArchiveRoots
  readonly #links: { path: string; target: string }[] = []
  #open: { file: NewFile; place: string; mode: number } | undefined
  #count = 0

  constructor(files: TenantFiles, roots: ArchiveRoots) {
    this.#files = files
    this.#roots = roots
  }

  /** Adds the next piece of a file, in the way that `write` does. */
  async add({ in: root, name, mode }: ArchivedPiece, write: (file: NewFile) => Promise<void>): Promise<void> {
    const place = `${root}/${name}`
    await this.#own(name, async () => {
      if (this.#open?.place !== place) {
        await this.#close()
        this.#countOne()
        this.#open = { file: await this.#files.create(this.#pathOf(root, name)), place, mode }
      }
      await write(this.#open.file)
    })
  }

  addLink({ name, target }: { name: string; target: string }): void {
    this.#countOne()
    this.#links.push({ path: this.#pathOf('workspace', name), target })
  }

  /** Ends the last file, then makes the links. */
  async finish(): Promise<void> {
    await this.#own(this.#open?.place ?? '', () => this.#close())
    for (const { path, target } of this.#links) await this.#own(path, () => this.#files.link(path, target))
  }

  /** Gives up a file that was not finished. */
  drop(): void {
    this.#open?.file.drop()
    this.#open = undefined
  }

  async #close(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    await open?.file.close(open.mode)
  }

  #countOne(): void {
    this.#count += 1
    if (this.#count > MAX_FILES) throw new ArchiveError(`it has more than ${MAX_FILES} files`)
  }

  async #own(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      // A file that failed is closed.
      this.#open = undefined
      if (!(error instanceof FilesError) || !error.problems.every(({ reason }) => OF_THE_ARCHIVE.has(reason)))
        throw error
      throw new ArchiveError(`${JSON.stringify(name)} ${error.problems[0]?.detail ?? 'cannot be made'}`, {
        cause: error,
      })
    }
  }

  #pathOf(root: 'transcript' | 'workspace', name: string): string {
    const { transcript, workspace } = this.#roots
    const parts = partsOf(name)
    if (root === 'workspace') {
      if (workspace !== undefined) return join(workspace, ...parts)
      throw new ArchiveError(`${JSON.stringify(name)} has no place: the session has no workspace of its own`)
    }
    const [first] = parts
    const isOwn = parts.length === 1 ? first === `${transcript?.sessionId}.jsonl` : first === transcript?.sessionId
    if (transcript !== undefined && isOwn) return join(transcript.folder, ...parts)
    throw new ArchiveError(`${JSON.stringify(name)} is no transcript of this session`)
  }
}

function partsOf(name: string): string[] {
  const parts = (sep === '/' ? name : name.replaceAll(sep, '/')).split('/')
  const leadsOut = parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))
  if (leadsOut) throw new ArchiveError(`${JSON.stringify(name)} would lie outside of the session`)
  if (parts.length > MAX_DEPTH || parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES))
    throw new ArchiveError(`${JSON.stringify(name.slice(0, 100))} is too long a name`)
  return parts
}
