import { join } from 'node:path'
import type { TenantFiles } from '../files/tenant-files.ts'

const FILE = '.claude.json'

/** The CLI's copies of it, which end in the time of each, in milliseconds since the epoch. */
const BACKUP = /^\.claude\.json\.backup\.(\d+)$/

/** A larger file is not read. */
const LARGEST_BYTES = 16 * 1024 * 1024

/** More backups are not read: the CLI keeps 5. */
const MOST_BACKUPS = 20

/** Whether the CLI ended because of its configuration. */
export const saysDamagedConfig = (words: string): boolean => /configuration file at .+ is corrupted/.test(words)

/** The text of a file that holds a JSON object; undefined for any other. */
async function readObject(files: TenantFiles, path: string): Promise<string | undefined> {
  try {
    const text = await files.text(path, LARGEST_BYTES)
    const value = text === undefined ? undefined : (JSON.parse(text) as unknown)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? text : undefined
  } catch {
    return undefined
  }
}

/**
 * Replaces a damaged configuration by its newest readable backup, or removes it: the CLI then writes a new one. The CLI itself
 * keeps a copy of the damaged file. Throws FilesError, StoreError.
 */
export async function restoreConfig(files: TenantFiles, configDir: string): Promise<void> {
  const path = join(configDir, FILE)
  // The process of another session may have been faster.
  if ((await readObject(files, path)) !== undefined) return
  const backups = join(configDir, 'backups')
  const names = (await files.list(backups)).map(({ name }) => name).filter((name) => BACKUP.test(name))
  const timeOf = (name: string): number => Number(BACKUP.exec(name)?.[1])
  for (const name of names.toSorted((a, b) => timeOf(b) - timeOf(a)).slice(0, MOST_BACKUPS)) {
    const text = await readObject(files, join(backups, name))
    if (text === undefined) continue
    await files.replace(path, [text])
    return
  }
  await files.erase(path)
}
