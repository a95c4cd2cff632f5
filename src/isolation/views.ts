import { lstatSync, opendirSync } from 'node:fs'
import { join } from 'node:path'
import { NESTED, SKILLS, UPLOADED, UPLOADED_AT, VIEWS } from '../session-paths.ts'

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
 * client has named, as long as nothing of the system is there. `at`: where the workspace itself is shown. Gives the arguments of
 * bubblewrap.
 */
export function viewsOf(workspace: string, mounted: Mounted, at: string = workspace): string[] {
  const uploads = join(workspace, UPLOADED)
  const views = VIEWS.filter(
    ({ folder, at: place }) =>
      !mounted.covers(place) &&
      !mounted.holds(place) &&
      isFolder(join(workspace, folder)) &&
      // Bubblewrap makes the place for a mount, and must not follow a link to it.
      (!place.startsWith(`${UPLOADED_AT}/`) || (isFolder(uploads) && isFolder(join(workspace, NESTED)))),
  )
  const binds = views.flatMap((view) => ['--bind', join(workspace, view.folder), view.at])
  // Wherever the workspace is seen, its skills cannot be changed.
  if (isFolder(join(workspace, SKILLS)))
    for (const place of [at, ...views.flatMap((view) => (view.folder === '' ? [view.at] : []))])
      binds.push('--ro-bind', join(workspace, SKILLS), join(place, SKILLS))
  if (!views.some((view) => view.at === UPLOADED_AT)) return binds
  const taken = [...views.map((view) => view.at), '/mnt/session']
  const isTaken = (path: string): boolean => mounted.covers(path) || taken.includes(path)
  const holds = (path: string): boolean => mounted.holds(path) || taken.some((other) => other.startsWith(`${path}/`))
  const links: string[] = []
  let left = MOST_ENTRIES
  const link = (folder: string, below: string): void => {
    using entries = opendirSync(folder)
    for (let entry = entries.readSync(); entry !== null && left > 0; entry = entries.readSync()) {
      left -= 1
      const path = `${below}/${entry.name}`
      if (isTaken(path)) continue
      if (!holds(path)) links.push('--symlink', `${UPLOADED_AT}${path}`, path)
      else if (entry.isDirectory()) link(join(folder, entry.name), path)
    }
  }
  link(uploads, '')
  return [...binds, ...links]
}
