import { join } from 'node:path'
import type { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { TranscriptPlace } from './driver.ts'
import { transcriptFolder } from '../transcripts/folder.ts'
import { checkId, transcriptFile } from '../transcripts/transcript.ts'

const SESSION_ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/

/** Has no name but a time: what the shell of some process looked like when it started. */
const SHELL_SNAPSHOT = /^snapshot-/

/** The names in a folder. One that cannot be listed is noted, and has none. */
async function namesIn(files: TenantFiles, path: string, problems: Problems): Promise<string[]> {
  const entries = await files.list(path).catch((error: unknown) => {
    problems.take(error)
    return []
  })
  return entries.map(({ name }) => name)
}

/** All folders in which the CLI keeps something under the names of conversations: each project is one. */
async function foldersOf(
  files: TenantFiles,
  configDir: string,
  problems: Problems,
): Promise<{ path: string; project: boolean }[]> {
  const entries = await files.list(configDir).catch((error: unknown) => {
    problems.take(error)
    return []
  })
  const folders = entries
    .filter(({ kind, name }) => kind === 'folder' && name !== 'projects')
    .map(({ name }) => ({ path: join(configDir, name), project: false }))
  const projects = (await namesIn(files, join(configDir, 'projects'), problems)).map((name) => ({
    path: join(configDir, 'projects', name),
    project: true,
  }))
  return [...folders, ...projects]
}

/** Bytes of what the CLI has under the name of each conversation. */
export async function conversationSizes(
  files: TenantFiles,
  configDir: string,
  problems: Problems,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const { path } of await foldersOf(files, configDir, problems)) {
    for (const name of await namesIn(files, path, problems)) {
      const [id] = SESSION_ID.exec(name) ?? []
      if (id !== undefined) sizes.set(id, (sizes.get(id) ?? 0) + (await files.size(join(path, name), problems)))
    }
  }
  return sizes
}

/** Removes what the CLI has under the names of conversations that are not known, and was written before that time. */
export async function removeUnknown(
  files: TenantFiles,
  configDir: string,
  known: ReadonlySet<string>,
  { before, dryRun, problems }: { before: number; dryRun: boolean; problems: Problems },
): Promise<number> {
  let removed = 0
  for (const { path: folder, project } of await foldersOf(files, configDir, problems)) {
    for (const name of await namesIn(files, folder, problems)) {
      const [id] = SESSION_ID.exec(name) ?? []
      if (id === undefined ? !SHELL_SNAPSHOT.test(name) : known.has(id)) continue
      const path = join(folder, name)
      const found = await files.facts(path).catch((error: unknown) => problems.take(error))
      if (found === undefined || found.mtimeMs >= before) continue
      const failed = problems.count
      if (!dryRun) await files.remove(path, problems)
      if (problems.count === failed) removed += 1
    }
    if (project && !dryRun) await files.removeIfEmpty(folder)
  }
  return removed
}

/** Removes the transcript of a conversation with those of its subagents. */
export async function removeTranscript(files: TenantFiles, place: TranscriptPlace, problems: Problems): Promise<void> {
  const folder = transcriptFolder(place)
  await files.remove(transcriptFile(folder, place.sessionId), problems)
  await files.remove(join(folder, checkId(place.sessionId)), problems)
  // It may hold the transcripts of other sessions in the same cwd.
  await files.removeIfEmpty(folder)
}

/** Removes what else the CLI keeps under a conversation's name: its tasks, environment, file history, debug log. */
export async function removeKeepsakes(
  files: TenantFiles,
  { configDir, sessionId }: TranscriptPlace,
  problems: Problems,
): Promise<void> {
  const id = checkId(sessionId)
  const folders = await foldersOf(files, configDir, problems)
  for (const { path } of folders.filter(({ project }) => !project)) {
    for (const name of await namesIn(files, path, problems))
      if (name.includes(id)) await files.remove(join(path, name), problems)
  }
}
