import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { WorkerLimits } from '../options/cgroup-limits.ts'

/** What a cgroup can limit for each worker. */
export type Controller = keyof WorkerLimits
export const CONTROLLERS: readonly Controller[] = ['memory', 'pids', 'cpu']

/** The place of this process in one mounted tree of cgroups. */
export interface CgroupPlace {
  version: 1 | 2
  path: string
  /** What it can limit for the cgroups below it; of v2, once it is handed down. */
  controllers: readonly Controller[]
}

/** Where the v2 tree may be mounted: alone, or beside v1. */
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']

/** The path of a process in the v2 tree, from the text of `/proc/PID/cgroup`. */
export const v2PathOf = (membership: string): string | undefined => /^0::(.*)$/m.exec(membership)?.[1]

export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

export const words = (text: string | undefined): string[] => (text ?? '').split(/\s+/).filter((word) => word !== '')

const known = (names: readonly string[]): Controller[] => CONTROLLERS.filter((name) => names.includes(name))

/** The places of this process, v2 first. `root`: where a recorded tree begins. */
export function ownPlaces(root = ''): CgroupPlace[] {
  const membership = textOf(join(root, '/proc/self/cgroup')) ?? ''
  const lines = membership.split('\n').flatMap((line) => {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    return names === undefined || path === undefined ? [] : [{ names, path }]
  })
  const found: (CgroupPlace | undefined)[] = [v2Place(root, v2PathOf(membership))]
  for (const { names, path } of lines) {
    const controllers = known(names.split(','))
    if (controllers.length > 0) found.push(v1Place(root, { names, path, controllers }))
  }
  return found.filter((place) => place !== undefined)
}

function v2Place(root: string, path: string | undefined): CgroupPlace | undefined {
  if (path === undefined) return undefined
  for (const mount of V2_MOUNTS) {
    const own = resolve(join(root, mount), `./${path}`)
    // A container may show its own root instead, or a process may not see its place.
    if (!holdsThisProcess(own) || textOf(join(own, 'cgroup.subtree_control')) === undefined) continue
    return { version: 2, path: own, controllers: known(words(textOf(join(own, 'cgroup.controllers')))) }
  }
  return undefined
}

function v1Place(
  root: string,
  { names, path, controllers }: { names: string; path: string; controllers: Controller[] },
): CgroupPlace | undefined {
  for (const mount of [names, ...controllers].map((name) => join(root, '/sys/fs/cgroup', name))) {
    const own = [resolve(mount, `./${path}`), mount].find(holdsThisProcess)
    if (own !== undefined) return { version: 1, path: own, controllers }
  }
  return undefined
}

const holdsThisProcess = (path: string): boolean =>
  words(textOf(join(path, 'cgroup.procs'))).includes(String(process.pid))

export function subfolders(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [join(path, entry.name)] : [],
    )
  } catch {
    return []
  }
}

/** Processes in a cgroup and in those below it. */
export function pidsIn(path: string): number[] {
  const own = textOf(join(path, 'cgroup.procs'))
  if (own === undefined) return []
  return [...words(own).map(Number), ...subfolders(path).flatMap(pidsIn)]
}

/** Kills all that lives in a cgroup in one stroke, also what forks faster than it is found. */
export function killCgroup(path: string): void {
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1')
  } catch {
    // v1 and Linux before 5.14 have no such file: the signals one by one have to do.
  }
}

/** Stops what is in a v2 cgroup; since Linux 5.2. */
export const FREEZE = 'cgroup.freeze'

/** Lets go on what was frozen in the cgroups below this one. */
export function thawBelow(path: string): void {
  for (const folder of subfolders(path))
    if (textOf(join(folder, FREEZE)) !== undefined) tryWrite(join(folder, FREEZE), '0')
}

/** Removes a cgroup and those below it. False while something lives in it. */
export function removeCgroup(path: string): boolean {
  for (const folder of subfolders(path)) removeCgroup(folder)
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

/** Where a host that stands in the way of a v2 cgroup's controllers goes. */
export const HOST_LEAF = 'claude-agent-pool.host'

/**
 * Hands controllers of a v2 cgroup down to the cgroups below it. Only the root of all cgroups may have processes of its own then:
 * from any other cgroup, this process and `others` move to one below it. False if that is not possible here.
 */
export function handDown(path: string, wanted: readonly Controller[], others: () => readonly number[]): boolean {
  const control = join(path, 'cgroup.subtree_control')
  const missing = wanted.filter((name) => !words(textOf(control)).includes(name))
  if (missing.length === 0) return true
  const isRoot = textOf(join(path, 'cgroup.type')) === undefined
  if (!isRoot && holdsThisProcess(path)) {
    const leaf = join(path, HOST_LEAF)
    makeFolder(leaf)
    for (const pid of [process.pid, ...others()]) tryWrite(join(leaf, 'cgroup.procs'), String(pid))
  }
  return tryWrite(control, missing.map((name) => `+${name}`).join(' '))
}

export function makeFolder(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true })
    return true
  } catch {
    return false
  }
}

/** False: it was not written. */
function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text)
    return true
  } catch {
    return false
  }
}

/** The cgroup in which a host makes those of its workers: a host that has moved aside leaves them where it was. */
export const aboveLeaf = (path: string): string => (basename(path) === HOST_LEAF ? dirname(path) : path)
