import { join } from 'node:path'
import { calendarOf } from '../calendar.ts'
import { systemClock } from '../clock.ts'
import { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { checkId } from '../transcripts/transcript.ts'

/** The CLI probes the file system with these at each start, and leaves them. A younger one may be in use. */
const PROBE = /^fswatch-probe-/
const PROBE_AGE_MS = 60_000

/** The CLI's folder for this user below TMPDIR: `claude-0`, `claude-1000`. */
const USER_FOLDER = /^claude-\d+$/

async function userFolders(files: TenantFiles, tmpDir: string): Promise<string[]> {
  const entries = await files.list(tmpDir)
  return entries.filter(({ name }) => USER_FOLDER.test(name)).map(({ name }) => join(tmpDir, name))
}

async function isOld(files: TenantFiles, path: string): Promise<boolean> {
  const found = await files.facts(path)
  return found !== undefined && calendarOf(systemClock).earliest - found.mtimeMs > PROBE_AGE_MS
}

/** Removes what a process has left in its TMPDIR: its socket, and the probes of old starts. Throws what keeps it from looking. */
export async function tidyScratch(files: TenantFiles, tmpDir: string, pid: number): Promise<void> {
  // What stays is of no consequence, and goes with the tenant.
  const problems = new Problems()
  await files.remove(join(tmpDir, 'cc-socks', `${pid}.sock`), problems)
  for (const folder of await userFolders(files, tmpDir)) {
    for (const { name } of await files.list(folder)) {
      const path = join(folder, name)
      if (PROBE.test(name) && (await isOld(files, path))) await files.remove(path, problems)
    }
  }
}

/** Removes the scratch files of one conversation, wherever it ran. */
export async function removeScratch(
  files: TenantFiles,
  { tmpDir, sessionId }: { tmpDir: string; sessionId: string },
  problems: Problems,
): Promise<void> {
  const id = checkId(sessionId)
  try {
    for (const folder of await userFolders(files, tmpDir)) {
      for (const { name, kind } of await files.list(folder)) {
        if (kind !== 'folder') continue
        const ofCwd = join(folder, name)
        await files.remove(join(ofCwd, id), problems)
        await files.removeIfEmpty(ofCwd)
      }
    }
  } catch (error) {
    problems.take(error)
  }
}
