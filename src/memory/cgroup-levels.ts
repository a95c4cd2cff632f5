import { posix } from 'node:path'
import type { ReadFile } from './files.ts'
import { fieldOf } from './files.ts'

/** A memory cgroup that holds this process: its own or one above it. */
export interface CgroupLevel {
  version: 1 | 2
  path: string
}

/** Where each version may be mounted: v2 alone or beside v1. */
const MOUNTS: Record<CgroupLevel['version'], string[]> = {
  1: ['/sys/fs/cgroup/memory'],
  2: ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'],
}

/** The file that shows where the memory controller is. The root of v2 has none: it has no limit either. */
const USAGE: Record<CgroupLevel['version'], string> = { 1: 'memory.usage_in_bytes', 2: 'memory.current' }

/** Where a host moves aside so that its cgroup can be divided (`HOST_LEAF` of process/cgroup-tree): its workers are beside it. */
const HOST_LEAF = 'claude-agent-pool.host'

/** The cgroups that bound a process whose `/proc/PID/cgroup` reads `membership`: its own first, then up the tree. */
export function cgroupLevels(membership: string, read: ReadFile): CgroupLevel[] {
  return membership.split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) return []
    if (controllers === '') return levelsOf(2, path, read)
    return controllers.split(',').includes('memory') ? levelsOf(1, path, read) : []
  })
}

function levelsOf(version: CgroupLevel['version'], path: string, read: ReadFile): CgroupLevel[] {
  for (const mount of MOUNTS[version]) {
    const own = posix.join(mount, path)
    // In a container the path may be the machine's, which is not mounted there: what is mounted is then its own cgroup.
    const start = own.startsWith(mount) && read(`${own}/cgroup.procs`) !== undefined ? own : mount
    const levels: CgroupLevel[] = []
    for (let level = start; level.startsWith(mount); level = posix.dirname(level)) {
      if (posix.basename(level) !== HOST_LEAF && read(`${level}/${USAGE[version]}`) !== undefined)
        levels.push({ version, path: level })
    }
    if (levels.length > 0) return levels
  }
  return []
}

const number = (text: string | undefined): number => {
  const value = Number(text)
  return text === undefined || text.trim() === '' || Number.isNaN(value) ? Infinity : value
}

/** Bytes that a cgroup may use; Infinity where it has no limit of its own. Of v1, also those of levels that are not shown. */
export function limitOf({ version, path }: CgroupLevel, read: ReadFile): number {
  // Over memory.high the kernel slows everybody down so much that it is a limit for us.
  if (version === 2) return Math.min(number(read(`${path}/memory.max`)), number(read(`${path}/memory.high`)))
  const inherited = fieldOf(read(`${path}/memory.stat`) ?? '', 'hierarchical_memory_limit') ?? Infinity
  return Math.min(number(read(`${path}/memory.limit_in_bytes`)), inherited)
}

/**
 * Bytes that a cgroup uses and that the kernel cannot take back at no cost: without cached files, except files that are
 * mapped, which are programs at work. Undefined when it has gone.
 */
export function workingSetOf({ version, path }: CgroupLevel, read: ReadFile): number | undefined {
  const used = number(read(`${path}/${USAGE[version]}`))
  const stat = read(`${path}/memory.stat`)
  if (!Number.isFinite(used) || stat === undefined) return undefined
  const of = (name: string): number => fieldOf(stat, version === 1 ? `total_${name}` : name) ?? 0
  const mapped = of(version === 1 ? 'mapped_file' : 'file_mapped')
  return Math.max(0, used - of('inactive_file') - Math.max(0, of('active_file') - mapped))
}
