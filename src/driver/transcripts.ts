import { appendFile, mkdir, readFile, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOn } from '../disk-use.ts'
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
export async function transcriptFolders({ configDir, cwd }: TranscriptPlace): Promise<string[]> {
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
  for (const folder of await transcriptFolders(place)) {
    await rm(join(folder, `${place.sessionId}.jsonl`), { force: true })
    await rm(join(folder, place.sessionId), { recursive: true, force: true })
    // Only an empty folder goes; others may hold the transcripts of other sessions in the same cwd.
    const left = await readdir(folder).catch(() => ['absent'])
    if (left.length === 0) await rm(folder, { recursive: true, force: true })
  }
}

/** The files of a conversation: its transcript, and what stands in the folder of its name, such as those of subagents. */
export async function transcriptNames(place: TranscriptPlace): Promise<{ folder: string; names: string[] }> {
  const { sessionId } = place
  const folders = await transcriptFolders(place)
  for (const folder of folders) {
    const all: string[] = await readdir(folder).catch(() => [])
    if (!all.includes(`${sessionId}.jsonl`)) continue
    const beside = await readdir(join(folder, sessionId), { recursive: true }).catch(() => [])
    return { folder, names: [`${sessionId}.jsonl`, ...beside.map((name) => join(sessionId, name))] }
  }
  return { folder: folders[0] ?? join(place.configDir, 'projects', folderName(place.cwd)), names: [] }
}

const SESSION_ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/

/** Has no name but a time: what the shell of some process looked like when it started. */
const SHELL_SNAPSHOT = /^snapshot-/

/** All folders in which the CLI keeps something under the names of conversations: each project is one. */
async function foldersOf(configDir: string): Promise<{ path: string; project: boolean }[]> {
  const folders = (await readdir(configDir, { withFileTypes: true }).catch(() => []))
    .filter((entry) => entry.isDirectory() && entry.name !== 'projects')
    .map(({ name }) => ({ path: join(configDir, name), project: false }))
  const projects = (await readdir(join(configDir, 'projects')).catch(() => [])).map((name) => ({
    path: join(configDir, 'projects', name),
    project: true,
  }))
  return [...folders, ...projects]
}

/** Bytes of what the CLI has under the name of each conversation. */
export async function conversationSizes(configDir: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const { path } of await foldersOf(configDir)) {
    for (const name of await readdir(path).catch(() => [])) {
      const [id] = SESSION_ID.exec(name) ?? []
      if (id !== undefined) sizes.set(id, (sizes.get(id) ?? 0) + (await bytesOn(join(path, name))))
    }
  }
  return sizes
}

/** Removes what the CLI has under the names of conversations that are not known, and was written before that time. */
export async function removeUnknown(
  configDir: string,
  known: ReadonlySet<string>,
  { before, dryRun }: { before: number; dryRun: boolean },
): Promise<number> {
  let removed = 0
  for (const { path: folder, project } of await foldersOf(configDir)) {
    const names = await readdir(folder).catch(() => [])
    let left = names.length
    for (const name of names) {
      const [id] = SESSION_ID.exec(name) ?? []
      if (id === undefined ? !SHELL_SNAPSHOT.test(name) : known.has(id)) continue
      const path = join(folder, name)
      const found = await stat(path).catch(() => undefined)
      if (found === undefined || found.mtimeMs >= before) continue
      removed += 1
      if (dryRun) continue
      await rm(path, { recursive: true, force: true })
      left -= 1
    }
    if (left === 0 && project && !dryRun) await rmdir(folder).catch(() => undefined)
  }
  return removed
}

/** Removes what else the CLI keeps under a conversation's name: its tasks, environment, file history, debug log. */
export async function removeKeepsakes({ configDir, sessionId }: TranscriptPlace): Promise<void> {
  const folders = await readdir(configDir, { withFileTypes: true }).catch(() => [])
  for (const folder of folders) {
    if (!folder.isDirectory() || folder.name === 'projects') continue
    const path = join(configDir, folder.name)
    for (const name of await readdir(path).catch(() => [])) {
      if (name.includes(sessionId)) await rm(join(path, name), { recursive: true, force: true })
    }
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
  const [source] = await transcriptFolders(place)
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
