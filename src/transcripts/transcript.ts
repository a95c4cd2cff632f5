import { join } from 'node:path'
import { FilesError } from '../errors.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { SessionStoreEntry, TranscriptPlace } from '../driver/driver.ts'
import { parseEntry } from './entry.ts'
import { transcriptFolder } from './folder.ts'

/** Ids come from processes and archives, and become names of files. */
const PLAIN_ID = /^[\w-]{1,100}$/

/** Throws FilesError for an id that would lead elsewhere. */
export function checkId(sessionId: string): string {
  if (PLAIN_ID.test(sessionId)) return sessionId
  const problem = { path: '', reason: 'name', detail: 'the id of the conversation is no name of a file' } as const
  throw new FilesError('files_failed', problem.detail, [problem])
}

/** The file of a conversation, or of one of its subagents, in its folder. */
export const transcriptFile = (folder: string, sessionId: string, subpath?: string): string =>
  subpath === undefined
    ? join(folder, `${checkId(sessionId)}.jsonl`)
    : join(folder, checkId(sessionId), `${checkSubpath(subpath)}.jsonl`)

function checkSubpath(subpath: string): string {
  const parts = subpath.split('/')
  if (parts.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\\'))) return subpath
  const problem = { path: '', reason: 'name', detail: 'a transcript has a name that leads elsewhere' } as const
  throw new FilesError('files_failed', problem.detail, [problem])
}

/** The files of a conversation: its transcript, whatever stands there, and the files in the folder of its name, such as those of subagents. */
export async function transcriptNames(
  files: TenantFiles,
  place: TranscriptPlace,
  problems: Problems = new Problems(),
): Promise<{ folder: string; names: string[] }> {
  const id = checkId(place.sessionId)
  const folder = transcriptFolder(place)
  if ((await files.facts(transcriptFile(folder, id))) === undefined) return { folder, names: [] }
  const beside = await files.names(join(folder, id), problems)
  return { folder, names: [`${id}.jsonl`, ...beside.map((name) => join(id, name))] }
}

/** How much of a transcript is held in memory as a whole: an agent may have made it as large as it likes. */
const WHOLE = { from: 'start', lineBytes: 64 * 2 ** 20, fileBytes: 128 * 2 ** 20 } as const
const MAX_ENTRIES = 500_000

/** A transcript's entries. `damaged`: a line was cut short, and nothing else is missing. */
export interface ParsedTranscript {
  entries: SessionStoreEntry[]
  damaged: boolean
}

/**
 * Reads a transcript. Undefined if there is none. Skips lines that a kill or a full disk has cut short, as the CLI does. Throws
 * FilesError for one that is no plain file, or is too large.
 */
export async function parseTranscript(files: TenantFiles, path: string): Promise<ParsedTranscript | undefined> {
  if ((await files.facts(path)) === undefined) return undefined
  const entries: SessionStoreEntry[] = []
  let cut = 0
  let tooLong = 0
  for await (const { text } of files.lines(path, WHOLE)) {
    if (text === '') continue
    const entry = text === undefined ? undefined : parseEntry<SessionStoreEntry>(text)
    if (text === undefined) tooLong += 1
    else if (entry === undefined) cut += 1
    if (entry === undefined) continue
    if (entries.length >= MAX_ENTRIES) throw tooMany(path)
    entries.push(entry)
  }
  return { entries, damaged: cut > 0 && tooLong === 0 }
}

function tooMany(path: string): FilesError {
  const problem = { path, reason: 'too_large', detail: `has more than ${MAX_ENTRIES} entries` } as const
  return new FilesError('files_failed', `reading a file failed: ${path} ${problem.detail}`, [problem])
}
