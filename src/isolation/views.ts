import { lstatSync, opendirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MEMORY, MEMORY_READ_ONLY, NESTED, SKILLS, UPLOADED, UPLOADED_AT, VIEWS } from '../session-paths.ts'

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

/** Wherever a workspace is seen, what its agent may only read cannot be changed. */
const readOnly = (workspace: string, places: readonly string[]): string[] =>
  [SKILLS, MEMORY_READ_ONLY]
    .filter((folder) => isFolder(join(workspace, folder)))
    .flatMap((folder) => places.flatMap((place) => ['--ro-bind', join(workspace, folder), join(place, folder)]))

/** Memory stores that may only be read are seen beside the others, in the place of empty folders. */
function memories(workspace: string): string[] {
  const folder = join(workspace, MEMORY_READ_ONLY)
  if (!isFolder(folder)) return []
  return readdirSync(folder)
    .slice(0, MOST_ENTRIES)
    .filter((name) => isFolder(join(folder, name)) && isFolder(join(workspace, MEMORY, name)))
    .flatMap((name) => ['--ro-bind', join(folder, name), join('/mnt/memory', name)])
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
  binds.push(...readOnly(workspace, [at, ...views.flatMap((view) => (view.folder === '' ? [view.at] : []))]))
  if (views.some((view) => view.folder === MEMORY)) binds.push(...memories(workspace))
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
