import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { FilesError } from '../errors.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { SessionStoreEntry, TranscriptPlace } from './driver.ts'
import { parseEntry } from './transcript-entry.ts'

/** Longer names are cut by the CLI and get a hash, so the folder must be looked for. */
const LONGEST_PLAIN_NAME = 200

export function folderName(cwd: string): string {
  let real = cwd
  try {
    real = realpathSync(cwd)
  } catch {
    // A cwd that is gone is looked up by the name it had.
  }
  return real.normalize('NFC').replace(/[^a-zA-Z0-9]/g, '-')
}

/** Ids come from processes and archives, and become names of files. */
const PLAIN_ID = /^[\w-]{1,100}$/

/** Throws FilesError for an id that would lead elsewhere. */
export function checkId(sessionId: string): string {
  if (PLAIN_ID.test(sessionId)) return sessionId
  const problem = { path: '', reason: 'name', detail: 'the id of the conversation is no name of a file' } as const
  throw new FilesError('files_failed', problem.detail, [problem])
}

/** The folders in which the CLI may keep transcripts of this cwd. */
export async function transcriptFolders(files: TenantFiles, place: TranscriptPlace): Promise<string[]> {
  const projects = join(place.configDir, 'projects')
  const name = folderName(place.cwd)
  if (name.length <= LONGEST_PLAIN_NAME) return [join(projects, name)]
  const all = await files.list(projects)
  return all
    .filter((entry) => entry.name.startsWith(name.slice(0, LONGEST_PLAIN_NAME)))
    .map((entry) => join(projects, entry.name))
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
  const folders = await transcriptFolders(files, place)
  for (const folder of folders) {
    if ((await files.facts(transcriptFile(folder, id))) === undefined) continue
    const beside = await files.names(join(folder, id), problems)
    return { folder, names: [`${id}.jsonl`, ...beside.map((name) => join(id, name))] }
  }
  return { folder: folders[0] ?? join(place.configDir, 'projects', folderName(place.cwd)), names: [] }
}

/** How much of a transcript is held in memory as a whole: an agent may have made it as large as it likes. */
const WHOLE = { from: 'start', lineBytes: 64 * 2 ** 20, fileBytes: 128 * 2 ** 20 } as const
const MAX_ENTRIES = 500_000

/**
 * The entries of a transcript; undefined where there is none. Like the CLI, passes over lines that are none, such as the last one of a
 * process that was killed as it wrote. Throws FilesError for one that is no plain file, or is too large.
 */
export async function entriesIn(files: TenantFiles, path: string): Promise<SessionStoreEntry[] | undefined> {
  if ((await files.facts(path)) === undefined) return undefined
  const entries: SessionStoreEntry[] = []
  for await (const { text } of files.lines(path, WHOLE)) {
    const entry = text === undefined || text === '' ? undefined : parseEntry<SessionStoreEntry>(text)
    if (entry === undefined) continue
    if (entries.length >= MAX_ENTRIES) throw tooMany(path)
    entries.push(entry)
  }
  return entries
}

function tooMany(path: string): FilesError {
  const problem = { path, reason: 'too_large', detail: `has more than ${MAX_ENTRIES} entries` } as const
  return new FilesError('files_failed', `reading a file failed: ${path} ${problem.detail}`, [problem])
}
