import type { FileFacts, TenantFiles } from '../files/tenant-files.ts'
import type { ResumeLoad, TranscriptPlace } from '../driver/driver.ts'
import { parseEntry } from './entry.ts'
import { transcriptFolder } from './folder.ts'
import { transcriptFile } from './transcript.ts'

/** The row that the CLI writes when it has put a summary in the place of what was said before. */
interface Boundary {
  uuid: string
  /** Rows before it that the conversation keeps nevertheless. */
  kept: string[]
}

function boundaryIn(line: string): Boundary | undefined {
  // Anybody may have said the words, but not in these places.
  if (!line.includes('"subtype":"compact_boundary"')) return undefined
  const row = parseEntry<{
    subtype?: unknown
    uuid: string
    compactMetadata?: { preservedMessages?: { uuids?: unknown } }
  }>(line)
  if (row?.subtype !== 'compact_boundary') return undefined
  const uuids = row.compactMetadata?.preservedMessages?.uuids
  return { uuid: row.uuid, kept: Array.isArray(uuids) ? uuids.map(String) : [] }
}

const isAnswer = (line: string): boolean => line.includes('"type":"assistant"')

/** What is looked through of one transcript. Of a longer line only the size counts. */
const BOUNDS = { from: 'start', lineBytes: 32 * 2 ** 20, fileBytes: 512 * 2 ** 20 } as const

/** Bytes of the rows that have these ids, before that row. */
async function keptBytes(files: TenantFiles, path: string, { uuid, kept }: Boundary): Promise<number> {
  const ids = kept.map((id) => `"uuid":"${id}"`)
  let sum = 0
  for await (const { text = '', bytes } of files.lines(path, BOUNDS)) {
    if (boundaryIn(text)?.uuid === uuid) break
    if (ids.some((id) => text.includes(id))) sum += bytes + 1
  }
  return sum
}

/**
 * What a process would have to load of a conversation; undefined where its transcript has no more than `above` bytes, or
 * is not there. The CLI leaves what it has summed up in the file, and passes over it. Throws FilesError for one that is no plain file.
 */
export async function resumeLoad(
  files: TenantFiles,
  place: TranscriptPlace,
  above: number,
): Promise<ResumeLoad | undefined> {
  const found = await mainTranscript(files, place)
  // What is no file is not passed over for its size: the lines refuse it by name.
  if (found === undefined || (found.kind === 'file' && found.size <= above)) return undefined
  const { path } = found
  let last: Boundary | undefined
  let sum = 0
  let answered = false
  for await (const { text, bytes } of files.lines(path, BOUNDS)) {
    const boundary = boundaryIn(text ?? '')
    if (boundary !== undefined) {
      last = boundary
      sum = 0
      answered = false
    }
    sum += bytes + 1
    answered ||= text === undefined || isAnswer(text)
  }
  const kept = last === undefined || last.kept.length === 0 ? 0 : await keptBytes(files, path, last)
  return { fileBytes: found.size, bytes: sum + kept, compaction: last?.uuid, summedUp: !answered && kept === 0 }
}

async function mainTranscript(
  files: TenantFiles,
  place: TranscriptPlace,
): Promise<(FileFacts & { path: string }) | undefined> {
  const path = transcriptFile(transcriptFolder(place), place.sessionId)
  const found = await files.facts(path)
  return found && { ...found, path }
}
