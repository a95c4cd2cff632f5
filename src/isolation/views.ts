import { lstatSync, opendirSync } from 'node:fs'
import { join } from 'node:path'
import { NESTED, UPLOADED, UPLOADED_AT, VIEWS } from '../session-paths.ts'

/** Entries of uploads that are looked at. A session has fewer files; an agent may have added any number. */
const MOST_ENTRIES = 500

/** True for a folder itself: an agent may have put a link in its place. */
const isFolder = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** What a sandbox has mounted so far. */
interface Mounted {
  /** True if something is mounted at the path or around it. */
  covers(path: string): boolean
  /** True if something is mounted in the path. */
  holds(path: string): boolean
}

/**
 * Shows folders of a workspace in the places where programs for the hosted API look for them, and each upload at the path that its
 * client has named, as long as nothing of the system is there. Gives the arguments of bubblewrap.
 */
export function viewsOf(workspace: string, mounted: Mounted): string[] {
  const uploads = join(workspace, UPLOADED)
  const views = VIEWS.filter(
    ({ folder, at }) =>
      !mounted.covers(at) &&
      !mounted.holds(at) &&
      isFolder(join(workspace, folder)) &&
      // Bubblewrap makes the place for a mount, and must not follow a link to it.
      (!at.startsWith(`${UPLOADED_AT}/`) || (isFolder(uploads) && isFolder(join(workspace, NESTED)))),
  )
  const binds = views.flatMap(({ folder, at }) => ['--bind', join(workspace, folder), at])
  if (!views.some(({ at }) => at === UPLOADED_AT)) return binds
  const taken = [...views.map(({ at }) => at), '/mnt/session']
  const isTaken = (path: string): boolean => mounted.covers(path) || taken.includes(path)
  const holds = (path: string): boolean => mounted.holds(path) || taken.some((at) => at.startsWith(`${path}/`))
  const links: string[] = []
  let left = MOST_ENTRIES
  const link = (folder: string, at: string): void => {
    using entries = opendirSync(folder)
    for (let entry = entries.readSync(); entry !== null && left > 0; entry = entries.readSync()) {
      left -= 1
      const path = `${at}/${entry.name}`
      if (isTaken(path)) continue
      if (!holds(path)) links.push('--symlink', `${UPLOADED_AT}${path}`, path)
      else if (entry.isDirectory()) link(join(folder, entry.name), path)
    }
  }
  link(uploads, '')
  return [...binds, ...links]
}
