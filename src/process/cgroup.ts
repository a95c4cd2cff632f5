import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFile, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { hostLives, thisHost } from './marker.ts'
import type { HostIdentity } from './marker.ts'

/** Where the v2 tree may be mounted: alone, or beside v1. */
const MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']

const PREFIX = 'claude-agent-pool'

const nameOf = ({ pid, startTime, bootId }: HostIdentity): string => [PREFIX, pid, startTime, bootId].join('.')

function hostOf(name: string): HostIdentity | undefined {
  const [prefix, pid, startTime, bootId] = name.split('.')
  if (prefix !== PREFIX || startTime === undefined || bootId === undefined) return undefined
  return { pid: Number(pid), startTime, bootId }
}

/** The path of a process in the v2 tree, from the text of `/proc/PID/cgroup`. */
export const v2PathOf = (membership: string): string | undefined => /^0::(.*)$/m.exec(membership)?.[1]

function subfolders(path: string): string[] {
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
  let own: string
  try {
    own = readFileSync(join(path, 'cgroup.procs'), 'latin1')
  } catch {
    return []
  }
  const pids = own.split('\n').flatMap((line) => (line === '' ? [] : [Number(line)]))
  return [...pids, ...subfolders(path).flatMap(pidsIn)]
}

/** Kills all that lives in a cgroup in one stroke, also what forks faster than it is found. */
export function killCgroup(path: string): void {
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1')
  } catch {
    // Before Linux 5.14 there is no such file: the signals one by one have to do.
  }
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

/**
 * A cgroup of this host with one below it for each worker: nothing that a worker starts can leave it, whatever it does to
 * its environment, parents and session. Only where a v2 tree is mounted and may be written to.
 */
export class HostCgroup {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes the host's cgroup, and removes the empty ones of hosts that are gone; undefined where that cannot be. */
  static make(): HostCgroup | undefined {
    const parent = ownCgroup()
    if (parent === undefined) return undefined
    for (const folder of subfolders(parent)) {
      const host = hostOf(basename(folder))
      if (host !== undefined && !hostLives(host)) removeCgroup(folder)
    }
    const path = join(parent, nameOf(thisHost))
    try {
      mkdirSync(path, { recursive: true })
      return new HostCgroup(path)
    } catch {
      return undefined
    }
  }

  /** Makes a worker's cgroup, where its process is a moment later (`moved`, also if it cannot be); undefined when there can be none. */
  enclose(workerId: string, pid: number, moved: () => void = () => undefined): string | undefined {
    const path = join(this.path, workerId)
    try {
      mkdirSync(path)
    } catch {
      return undefined
    }
    // The kernel takes milliseconds for a move: in another thread, beside the host's own work.
    writeFile(join(path, 'cgroup.procs'), String(pid), (error) => {
      if (error !== null) removeCgroup(path)
      moved()
    })
    return path
  }

  remove(): void {
    removeCgroup(this.path)
  }
}

/** This process's place in the v2 tree; undefined where none is mounted, or where it is not to be seen. */
export function ownCgroup(): string | undefined {
  let path: string | undefined
  try {
    path = v2PathOf(readFileSync('/proc/self/cgroup', 'latin1'))
  } catch {
    return undefined
  }
  if (path === undefined) return undefined
  for (const mount of MOUNTS) {
    const own = join(mount, path)
    try {
      readFileSync(join(own, 'cgroup.procs'), 'latin1')
      readFileSync(join(own, 'cgroup.subtree_control'), 'latin1')
      return own
    } catch {
      // Not mounted here, or not at this path: a container shows its own root instead.
    }
  }
  return undefined
}
