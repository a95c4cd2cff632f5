import { appendFile, mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { SessionKey, SessionStore, SessionStoreEntry, TranscriptPlace } from './driver.ts'

/** Longer names are cut by the CLI and get a hash, so the folder must be looked for. */
const LONGEST_PLAIN_NAME = 200

function folderName(cwd: string): string {
  let real = cwd
  try {
    real = realpathSync(cwd)
  } catch {
    // A cwd that is gone is looked up by the name it had.
  }
  return real.normalize('NFC').replace(/[^a-zA-Z0-9]/g, '-')
}

/** The folders in which the CLI may keep transcripts of this cwd. */
async function candidateFolders({ configDir, cwd }: TranscriptPlace): Promise<string[]> {
  const projects = join(configDir, 'projects')
  const name = folderName(cwd)
  if (name.length <= LONGEST_PLAIN_NAME) return [join(projects, name)]
  const all = await readdir(projects).catch(() => [])
  return all
    .filter((entry) => entry.startsWith(name.slice(0, LONGEST_PLAIN_NAME)))
    .map((entry) => join(projects, entry))
}

/** Removes the transcript of a conversation with those of its subagents. */
export async function removeTranscript(place: TranscriptPlace): Promise<void> {
  for (const folder of await candidateFolders(place)) {
    await rm(join(folder, `${place.sessionId}.jsonl`), { force: true })
    await rm(join(folder, place.sessionId), { recursive: true, force: true })
    // Only an empty folder goes; others may hold the transcripts of other sessions in the same cwd.
    const left = await readdir(folder).catch(() => ['absent'])
    if (left.length === 0) await rm(folder, { recursive: true, force: true })
  }
}

const linesOf = (text: string): SessionStoreEntry[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SessionStoreEntry)

/**
 * The CLI's own transcript files, as the store that the SDK's functions take: so that they work on any config dir. What
 * is written belongs to processes in `cwd`.
 */
export async function transcriptFiles(place: TranscriptPlace, cwd: string): Promise<SessionStore> {
  const [source] = await candidateFolders(place)
  if (source === undefined) throw new Error(`no transcripts of ${place.cwd}`)
  const target = cwd === place.cwd ? source : join(place.configDir, 'projects', folderName(cwd))
  const pathOf = (folder: string, { sessionId, subpath }: SessionKey): string =>
    subpath === undefined ? join(folder, `${sessionId}.jsonl`) : join(folder, sessionId, `${subpath}.jsonl`)
  return {
    async load(key) {
      try {
        return linesOf(await readFile(pathOf(source, key), 'utf8'))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },
    async append(key, entries) {
      await mkdir(target, { recursive: true, mode: 0o700 })
      const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
      await appendFile(pathOf(target, key), text, { mode: 0o600 })
    },
  }
}
