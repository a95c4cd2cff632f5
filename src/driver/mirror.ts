import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import type { SessionStore, SessionStoreEntry, TranscriptPlace } from './driver.ts'
import { transcriptFolders } from './transcripts.ts'

/** The main transcript has no subpath. */
type Subpath = string | undefined

/** A conversation's transcripts by subpath. */
type Transcripts = Map<Subpath, SessionStoreEntry[]>

/** The entries of a file. Its last line may be one that is being written: it comes with the next look. */
function entriesOf(text: string): SessionStoreEntry[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.flatMap((line, index) => {
    try {
      return [JSON.parse(line) as SessionStoreEntry]
    } catch (error) {
      if (index === lines.length - 1) return []
      throw error
    }
  })
}

const fileOf = (folder: string, sessionId: string, subpath: Subpath): string =>
  subpath === undefined ? join(folder, `${sessionId}.jsonl`) : join(folder, sessionId, `${subpath}.jsonl`)

async function ownTranscripts(folder: string, sessionId: string): Promise<Transcripts> {
  const below = await readdir(join(folder, sessionId), { recursive: true }).catch(() => [])
  const subpaths = below
    .filter((name) => name.endsWith('.jsonl'))
    .map((name) => name.slice(0, -'.jsonl'.length).split(sep).join('/'))
  const own: Transcripts = new Map()
  for (const subpath of [undefined, ...subpaths]) {
    const text = await readFile(fileOf(folder, sessionId, subpath), 'utf8').catch(absent)
    if (text !== undefined) own.set(subpath, entriesOf(text))
  }
  return own
}

async function keptTranscripts(
  store: SessionStore,
  key: { projectKey: string; sessionId: string },
): Promise<Transcripts> {
  const kept: Transcripts = new Map()
  for (const subpath of [undefined, ...((await store.listSubkeys?.(key)) ?? [])]) {
    const entries = await store.load(subpath === undefined ? key : { ...key, subpath })
    if (entries !== null) kept.set(subpath, entries)
  }
  return kept
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** Whether entries that have a uuid are missing: only those are told apart. */
function lacks(kept: readonly SessionStoreEntry[] | undefined, own: readonly SessionStoreEntry[]): boolean {
  if (kept === undefined) return own.length > 0
  const uuids = new Set(kept.map(({ uuid }) => uuid))
  return own.some(({ uuid }) => uuid !== undefined && !uuids.has(uuid))
}

async function writeWhole(file: string, entries: readonly SessionStoreEntry[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const unfinished = `${file}.unfinished`
  await writeFile(unfinished, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''), { mode: 0o600 })
  await rename(unfinished, file)
}

/**
 * Makes the CLI's files of a conversation and their copy in a store agree: a file that is gone is written again, and a copy
 * that lacks something is replaced by what the files say.
 */
export async function reconcile(place: TranscriptPlace, store: SessionStore): Promise<void> {
  const [folder] = await transcriptFolders(place)
  if (folder === undefined) return
  const { sessionId } = place
  const key = { projectKey: basename(folder), sessionId }
  const own = await ownTranscripts(folder, sessionId)
  const kept = await keptTranscripts(store, key)
  for (const [subpath, entries] of kept) {
    if (own.has(subpath)) continue
    await writeWhole(fileOf(folder, sessionId, subpath), entries)
    own.set(subpath, entries)
  }
  if (![...own].some(([subpath, entries]) => lacks(kept.get(subpath), entries))) return
  // In one go, so that a store that groups its writes has the old copy or the new one.
  await Promise.all([
    store.delete?.(key),
    ...[...own].map(([subpath, entries]) => store.append(subpath === undefined ? key : { ...key, subpath }, entries)),
  ])
}

/** Removes the copy of a conversation. */
export async function forgetCopy(place: TranscriptPlace, store: SessionStore): Promise<void> {
  for (const folder of await transcriptFolders(place)) {
    await store.delete?.({ projectKey: basename(folder), sessionId: place.sessionId })
  }
}
