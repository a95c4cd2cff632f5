import { basename, join } from 'node:path'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { SessionStore, SessionStoreEntry, TranscriptPlace } from '../driver/driver.ts'
import { transcriptFolder } from './folder.ts'
import { checkId, parseTranscript, transcriptFile } from './transcript.ts'
import type { ParsedTranscript } from './transcript.ts'

/** The main transcript has no subpath. */
type Subpath = string | undefined

/** A conversation's transcripts by subpath. */
type Transcripts<Transcript> = Map<Subpath, Transcript>

async function ownTranscripts(
  files: TenantFiles,
  folder: string,
  sessionId: string,
): Promise<Transcripts<ParsedTranscript>> {
  // A folder that cannot be entered has no transcripts of subagents, as for the CLI.
  const below = await files.names(join(folder, checkId(sessionId)), new Problems())
  const subpaths = below.filter((name) => name.endsWith('.jsonl')).map((name) => name.slice(0, -'.jsonl'.length))
  const own: Transcripts<ParsedTranscript> = new Map()
  for (const subpath of [undefined, ...subpaths]) {
    const transcript = await parseTranscript(files, transcriptFile(folder, sessionId, subpath))
    if (transcript !== undefined) own.set(subpath, transcript)
  }
  return own
}

async function keptTranscripts(
  store: SessionStore,
  key: { projectKey: string; sessionId: string },
): Promise<Transcripts<SessionStoreEntry[]>> {
  const kept: Transcripts<SessionStoreEntry[]> = new Map()
  for (const subpath of [undefined, ...((await store.listSubkeys?.(key)) ?? [])]) {
    const entries = await store.load(subpath === undefined ? key : { ...key, subpath })
    if (entries !== null) kept.set(subpath, entries)
  }
  return kept
}

/** Whether entries that have a uuid are missing: only those are told apart. */
function lacks(kept: readonly SessionStoreEntry[] | undefined, own: readonly SessionStoreEntry[]): boolean {
  if (kept === undefined) return own.length > 0
  const uuids = new Set(kept.map(({ uuid }) => uuid))
  return own.some(({ uuid }) => uuid !== undefined && !uuids.has(uuid))
}

export function* linesOf(entries: Iterable<SessionStoreEntry>): Generator<string> {
  for (const entry of entries) yield `${JSON.stringify(entry)}\n`
}

/**
 * Makes the CLI's files of a conversation and their copy in a store agree. A file that is gone is written again from the copy.
 * So is a file with cut lines, if the copy has all of its entries. A copy that lacks entries is replaced by the files'. Throws
 * FilesError, and what the store throws.
 */
export async function reconcile(files: TenantFiles, place: TranscriptPlace, store: SessionStore): Promise<void> {
  const folder = transcriptFolder(place)
  const { sessionId } = place
  const key = { projectKey: basename(folder), sessionId }
  const own = await ownTranscripts(files, folder, sessionId)
  const kept = await keptTranscripts(store, key)
  for (const [subpath, entries] of kept) {
    const file = own.get(subpath)
    if (file !== undefined && (!file.damaged || lacks(entries, file.entries))) continue
    await files.replace(transcriptFile(folder, sessionId, subpath), linesOf(entries))
    own.set(subpath, { entries, damaged: false })
  }
  if (![...own].some(([subpath, { entries }]) => lacks(kept.get(subpath), entries))) return
  // In one go, so that a store that groups its writes has the old copy or the new one.
  await Promise.all([
    store.delete?.(key),
    ...[...own].map(([subpath, { entries }]) =>
      store.append(subpath === undefined ? key : { ...key, subpath }, entries),
    ),
  ])
}

/** Removes the copy of a conversation. */
export async function forgetCopy(place: TranscriptPlace, store: SessionStore): Promise<void> {
  await store.delete?.({ projectKey: basename(transcriptFolder(place)), sessionId: place.sessionId })
}
