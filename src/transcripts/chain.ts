import { join } from 'node:path'
import { FilesError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { TranscriptPlace } from '../driver/driver.ts'
import { linesOfPiece } from '../files/lines.ts'
import type { Line } from '../files/lines.ts'
import { parseEntry } from './entry.ts'
import { transcriptFolder } from './folder.ts'
import { transcriptFile } from './transcript.ts'

/** An entry that comes before its parent costs another pass over the file. After these the check gives up and passes. */
const MAX_PASSES = 3

/** What is read of a transcript at most, from its end. Beyond this the check gives up and passes. */
const BOUNDS = { from: 'end', lineBytes: 64 * 2 ** 20, fileBytes: 256 * 2 ** 20 } as const

/** The turn before ends within these: what is new leads back to there. */
const OVERLAP_BYTES = 8 * 1024

interface Entry {
  uuid?: unknown
  parentUuid?: unknown
}

async function sizeOf(files: TenantFiles, path: string): Promise<number | undefined> {
  const found = await files.facts(path)
  return found?.kind === 'file' ? found.size : undefined
}

/** True if the lines have the entry `last`, and each parent up to one that was there at `since` bytes. They are asked for again for parents that come later. */
async function isWhole(lines: () => AsyncIterable<Line> | Iterable<Line>, { last, since }: Said): Promise<boolean> {
  let wanted = last
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const before = wanted
    for await (const { text, at } of lines()) {
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

/** The size of the transcript if its newest lines are enough to know that it is whole: so it is after nearly every turn. */
async function wholeByTail(files: TenantFiles, path: string, said: Said): Promise<number | undefined> {
  const from = Math.max(0, said.since - OVERLAP_BYTES)
  const tail = await files.tail(path, from)
  if (tail === undefined) return undefined
  return (await isWhole(() => linesOfPiece(tail.data, from), said)) ? tail.size : undefined
}

const isTooLarge = (error: unknown): boolean =>
  error instanceof FilesError && error.problems.every(({ reason }) => reason === 'too_large')

/** Something else stands in the place of a file. */
const isNoFile = (error: unknown): boolean =>
  error instanceof FilesError && error.problems.every(({ reason }) => NO_FILE.has(reason))

const NO_FILE: ReadonlySet<string> = new Set(['link', 'special', 'kind'])

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
  if (said === undefined) return (await sizeOf(files, path)) ?? 0
  // What is wrong with the file, the whole check tells.
  const quick = await wholeByTail(files, path, said).catch(() => undefined)
  if (quick !== undefined) return quick
  let size: number | undefined
  // The size before the reading: what comes later was not checked.
  const opened = (bytes: number): void => void (size ??= bytes)
  const whole = await isWhole(() => files.lines(path, { ...BOUNDS, opened }), said).catch((error: unknown) => {
    if (isNoFile(error)) return false
    if (!isTooLarge(error)) throw error
    return true
  })
  if (size === undefined) return (await isElsewhere(files, place)) ? 0 : undefined
  return whole ? size : undefined
}
