import { join } from 'node:path'
import { FilesError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { TranscriptPlace } from '../driver/driver.ts'
import { parseEntry } from './entry.ts'
import { transcriptFolder } from './folder.ts'
import { transcriptFile } from './transcript.ts'

/** An entry that comes before its parent costs another pass over the file. After these the check gives up and passes. */
const MAX_PASSES = 3

/** What is read of a transcript at most, from its end. Beyond this the check gives up and passes. */
const BOUNDS = { from: 'end', lineBytes: 64 * 2 ** 20, fileBytes: 256 * 2 ** 20 } as const

interface Entry {
  uuid?: unknown
  parentUuid?: unknown
}

async function sizeOf(files: TenantFiles, path: string): Promise<number | undefined> {
  const found = await files.facts(path)
  return found?.kind === 'file' ? found.size : undefined
}

/** True if the file has the entry `last`, and each parent up to one that was there at `since` bytes. */
async function isWhole(files: TenantFiles, path: string, { last, since }: Said): Promise<boolean> {
  let wanted = last
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const before = wanted
    for await (const { text, at } of files.lines(path, BOUNDS)) {
      // It is too long to be read, and may be the one.
      if (text === undefined) return true
      if (!text.includes(`"uuid":"${wanted}"`)) continue
      const { uuid, parentUuid } = parseEntry<Entry>(text) ?? {}
      if (uuid !== wanted) continue
      if (at < since || typeof parentUuid !== 'string') return true
      wanted = parentUuid
    }
    if (wanted === before) return false
  }
  return true
}

const isTooLarge = (error: unknown): boolean =>
  error instanceof FilesError && error.problems.every(({ reason }) => reason === 'too_large')

/** True if the CLI has moved the transcript to another working directory's folder. */
async function isElsewhere(files: TenantFiles, { configDir, sessionId }: TranscriptPlace): Promise<boolean> {
  const projects = join(configDir, 'projects')
  for (const { name } of await files.list(projects)) {
    if ((await sizeOf(files, transcriptFile(join(projects, name), sessionId)).catch(() => undefined)) !== undefined)
      return true
  }
  return false
}

/** The last entry of a turn, and the size of the transcript before it. */
interface Said {
  last: string
  since: number
}

/**
 * The size of a transcript. With `said`: undefined if the entry `last` or one of its parents is missing, up to the first
 * parent within the first `since` bytes. Throws FilesError, StoreError.
 */
export async function checkTranscript(
  files: TenantFiles,
  place: TranscriptPlace,
  said?: Said,
): Promise<number | undefined> {
  const path = transcriptFile(transcriptFolder(place), place.sessionId)
  const size = await sizeOf(files, path)
  if (said === undefined) return size ?? 0
  if (size === undefined) return (await isElsewhere(files, place)) ? 0 : undefined
  const whole = await isWhole(files, path, said).catch((error: unknown) => {
    if (!isTooLarge(error)) throw error
    return true
  })
  return whole ? size : undefined
}
