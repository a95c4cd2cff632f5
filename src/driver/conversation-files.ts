import { FilesError } from '../errors.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { restoreConfig } from './config-file.ts'
import { conversationSizes, removeKeepsakes, removeTranscript, removeUnknown } from './config-dir.ts'
import type {
  Driver,
  DriverListeners,
  ResumeLoad,
  SessionKey,
  SessionStore,
  TranscriptPlace,
  TranscriptUsage,
} from './driver.ts'
import { forgetCopy, linesOf, reconcile } from '../transcripts/mirror.ts'
import { resumeLoad } from '../transcripts/resume-load.ts'
import { removeScratch, tidyScratch } from './scratch.ts'
import { transcriptUsage } from '../transcripts/usage.ts'
import { checkTranscript } from '../transcripts/chain.ts'
import { transcriptFolder } from '../transcripts/folder.ts'
import { parseTranscript, transcriptFile, transcriptNames } from '../transcripts/transcript.ts'

type Trouble = DriverListeners['trouble']

/** What the CLI keeps of conversations, as far as the host works with it: in files that agents can reach, too. */
export class ConversationFiles implements Omit<
  Driver,
  'abortError' | 'attach' | 'close' | 'trees' | 'lease' | 'projectOf' | 'start' | 'fork'
> {
  readonly #files: TenantFiles
  #trouble: Trouble = () => undefined

  constructor(files: TenantFiles) {
    this.#files = files
  }

  /** Where it says what no caller asked for. */
  attach(trouble: Trouble): void {
    this.#trouble = trouble
  }

  /**
   * The CLI's own transcript files, as the store that the SDK's functions take: so that they work on any config dir. What
   * is written belongs to processes in `cwd`.
   */
  asStore(place: TranscriptPlace, cwd: string): SessionStore {
    const files = this.#files
    const source = transcriptFolder(place)
    const target = transcriptFolder({ ...place, cwd })
    const pathIn = (folder: string, { sessionId, subpath }: SessionKey): string =>
      transcriptFile(folder, sessionId, subpath)
    return {
      load: async (key) => (await parseTranscript(files, pathIn(source, key)))?.entries ?? null,
      append: (key, entries) => files.append(pathIn(target, key), [...linesOf(entries)].join('')),
    }
  }

  reconcile(place: TranscriptPlace, store: SessionStore): Promise<void> {
    return reconcile(this.#files, place, store)
  }

  async forget(place: TranscriptPlace, store: SessionStore): Promise<void> {
    const problems = new Problems()
    await forgetCopy(place, store).catch((error: unknown) => problems.take(error))
    await removeTranscript(this.#files, place, problems)
    await removeKeepsakes(this.#files, place, problems)
    await removeScratch(this.#files, place, problems)
    const left = problems.error('files_left', `files of the conversation ${place.sessionId} could not be removed`)
    if (left !== undefined) throw left
  }

  async forgetUnknown(
    { configDir }: { configDir: string },
    known: ReadonlySet<string>,
    options: { before: number; dryRun: boolean },
  ): Promise<number> {
    const problems = new Problems()
    const removed = await removeUnknown(this.#files, configDir, known, { ...options, problems })
    this.#tell('what no session knows could not all be removed', problems)
    return removed
  }

  async sizes({ configDir }: { configDir: string }): Promise<ReadonlyMap<string, number>> {
    const problems = new Problems()
    const sizes = await conversationSizes(this.#files, configDir, problems)
    this.#tell('not all transcripts could be counted', problems)
    return sizes
  }

  async transcript(place: TranscriptPlace): Promise<{ folder: string; names: string[] }> {
    const problems = new Problems()
    const found = await transcriptNames(this.#files, place, problems)
    this.#tell('not all transcripts of subagents can be read', problems)
    return found
  }

  usage(place: TranscriptPlace, after: number): Promise<TranscriptUsage> {
    return transcriptUsage(this.#files, place, after)
  }

  checkTranscript(place: TranscriptPlace, said?: { last: string; since: number }): Promise<number | undefined> {
    return checkTranscript(this.#files, place, said)
  }

  /** Restores a damaged configuration. Throws FilesError, StoreError. */
  restoreConfig(configDir: string): Promise<void> {
    return restoreConfig(this.#files, configDir)
  }

  resumeLoad(place: TranscriptPlace, above: number): Promise<ResumeLoad | undefined> {
    return resumeLoad(this.#files, place, above)
  }

  /** Removes what a process has left in its TMPDIR. */
  tidy(tmpDir: string, pid: number): Promise<void> {
    return tidyScratch(this.#files, tmpDir, pid)
  }

  #tell(message: string, problems: Problems): void {
    const error = problems.error('files_failed', message)
    if (error instanceof FilesError) this.#trouble(message, error)
  }
}
