import { constants } from 'node:fs'
import type { Dirent } from 'node:fs'
import { copyFile, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'

const isGone = (error: unknown): undefined => {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  return undefined
}

/**
 * Copies a folder that is in use: files, links and folders, nothing else. What goes away meanwhile is left out, and so are
 * folders of these names two levels down.
 */
export async function copyTree(from: string, to: string, except: ReadonlySet<string>, depth = 0): Promise<void> {
  const entries: Dirent[] = (await readdir(from, { withFileTypes: true }).catch(isGone)) ?? []
  await mkdir(to, { recursive: true, mode: 0o700 })
  for (const entry of entries) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      if (depth !== 1 || !except.has(entry.name)) await copyTree(source, target, except, depth + 1)
    } else if (entry.isSymbolicLink()) {
      const place = await readlink(source).catch(isGone)
      if (place !== undefined) await symlink(place, target)
    } else if (entry.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE).catch(isGone)
    }
  }
}
