import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ResumeLoad, TranscriptPlace } from './driver.ts'
import { parseEntry } from './transcript-entry.ts'
import { transcriptNames } from './transcripts.ts'

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
    compactMetadata?: { preservedMessages?: { uuids?: string[] } }
  }>(line)
  if (row?.subtype !== 'compact_boundary') return undefined
  return { uuid: row.uuid, kept: row.compactMetadata?.preservedMessages?.uuids ?? [] }
}

const isAnswer = (line: string): boolean => line.includes('"type":"assistant"')

const sizeOf = (line: string): number => Buffer.byteLength(line) + 1

async function* linesOf(path: string): AsyncGenerator<string> {
  await using file = await open(path)
  yield* file.readLines()
}

/** Bytes of the rows that have these ids, before that row. */
async function keptBytes(path: string, { uuid, kept }: Boundary): Promise<number> {
  const ids = kept.map((id) => `"uuid":"${id}"`)
  let bytes = 0
  for await (const line of linesOf(path)) {
    if (boundaryIn(line)?.uuid === uuid) break
    if (ids.some((id) => line.includes(id))) bytes += sizeOf(line)
  }
  return bytes
}

/**
 * What a process would have to load of a conversation; undefined where its transcript has no more than `above` bytes, or
 * is not there. The CLI leaves what it has summed up in the file, and passes over it.
 */
export async function resumeLoad(place: TranscriptPlace, above: number): Promise<ResumeLoad | undefined> {
  const { folder, names } = await transcriptNames(place)
  const path = join(folder, names[0] ?? `${place.sessionId}.jsonl`)
  const { size: fileBytes } = (await stat(path).catch(() => undefined)) ?? { size: 0 }
  if (fileBytes <= above) return undefined
  let last: Boundary | undefined
  let bytes = 0
  let answered = false
  for await (const line of linesOf(path)) {
    const boundary = boundaryIn(line)
    if (boundary !== undefined) {
      last = boundary
      bytes = 0
      answered = false
    }
    bytes += sizeOf(line)
    answered ||= isAnswer(line)
  }
  const kept = last === undefined || last.kept.length === 0 ? 0 : await keptBytes(path, last)
  return { fileBytes, bytes: bytes + kept, compaction: last?.uuid, summedUp: !answered && kept === 0 }
}
