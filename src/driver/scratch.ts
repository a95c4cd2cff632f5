import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../clock.ts'

/** The CLI probes the file system with these at each start, and leaves them. A younger one may be in use. */
const PROBE = /^fswatch-probe-/
const PROBE_AGE_MS = 60_000

/** The CLI's folder for this user below TMPDIR: `claude-0`, `claude-1000`. */
const USER_FOLDER = /^claude-\d+$/

async function userFolders(tmpDir: string): Promise<string[]> {
  const names = await readdir(tmpDir).catch(() => [])
  return names.filter((name) => USER_FOLDER.test(name)).map((name) => join(tmpDir, name))
}

async function isOld(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found !== undefined && systemClock.wall() - found.mtimeMs > PROBE_AGE_MS
}

/** Removes what a process has left in its TMPDIR: its socket, and the probes of old starts. */
export async function tidyScratch(tmpDir: string, pid: number): Promise<void> {
  await rm(join(tmpDir, 'cc-socks', `${pid}.sock`), { force: true })
  for (const folder of await userFolders(tmpDir)) {
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      if (PROBE.test(name) && (await isOld(path))) await rm(path, { recursive: true, force: true })
    }
  }
}

/** Removes the scratch files of one conversation, wherever it ran. */
export async function removeScratch(tmpDir: string, sessionId: string): Promise<void> {
  for (const folder of await userFolders(tmpDir)) {
    for (const name of await readdir(folder)) {
      const ofCwd = join(folder, name)
      await rm(join(ofCwd, sessionId), { recursive: true, force: true })
      const left = await readdir(ofCwd).catch(() => ['absent'])
      if (left.length === 0) await rm(ofCwd, { recursive: true, force: true })
    }
  }
}
