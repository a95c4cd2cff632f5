import { constants, statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { access, mkdir, realpath, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Problems } from './problem.ts'
import { TenantFiles } from './tenant-files.ts'

/** What is at a path that the caller or operator chose, links followed; undefined if nothing is, or it cannot be reached. */
export type ChosenPath = 'folder' | 'other' | undefined

export const chosenPath = async (path: string): Promise<ChosenPath> => kindOf(await stat(path).catch(() => undefined))

/** The same at once, for options that are read before anything can wait. */
export function chosenPathSync(path: string): ChosenPath {
  try {
    return kindOf(statSync(path))
  } catch {
    return undefined
  }
}

function kindOf(found: Stats | undefined): ChosenPath {
  if (found === undefined) return undefined
  return found.isDirectory() ? 'folder' : 'other'
}

/** The error code of what keeps a process of this user, or of the host's, from working in a folder that the caller chose. Undefined: nothing does. */
export async function obstacleAt(path: string, user?: number): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isDirectory()) return 'ENOTDIR'
    if (user !== undefined) return (await isOpenTo(user, await realpath(path))) ? undefined : 'EACCES'
    await access(path, constants.R_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO'
  }
}

const READ = 4
const ENTER = 1

/** Whether a user who is in no other group than its own can read a folder and enter it. Access lists may say something else. */
async function isOpenTo(user: number, path: string): Promise<boolean> {
  const way = [path]
  for (let at = path; dirname(at) !== at; at = dirname(at)) way.push(dirname(at))
  const found = await Promise.all(way.map((folder) => stat(folder)))
  return found.every(({ uid, gid, mode }, at) => {
    const rights = uid === user ? mode >> 6 : gid === user ? mode >> 3 : mode
    const needed = at === 0 ? READ | ENTER : ENTER
    return (rights & needed) === needed
  })
}

/** Fills a new folder, which is there as a whole or not at all. Throws what `fill` throws, and system errors. */
export async function newCopy(path: string, fill: (partial: string) => Promise<void>): Promise<void> {
  const partial = `${path}.partial`
  // What was copied may be as deep as an agent has made it.
  const files = new TenantFiles(dirname(path))
  await files.erase(partial)
  try {
    await mkdir(partial, { recursive: true, mode: 0o700 })
    await fill(partial)
    await rename(partial, path)
  } catch (error) {
    await files.remove(partial, new Problems())
    throw error
  }
}
