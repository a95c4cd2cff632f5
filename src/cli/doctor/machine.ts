import { CONTROLLERS } from '../../process/cgroup-tree.ts'
import type { CgroupPlace, Controller } from '../../process/cgroup-tree.ts'
import { formatSize } from '../../units.ts'
import type { DiskFacts, MemoryFacts } from '../shared/machine-facts.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** A host of 150 MiB and one turn of 200 MiB, with room to breathe. */
const MEMORY_LEAST = 512 * MIB
const MEMORY_USEFUL = GIB

/** What an idle worker takes at least: so many fit that descriptors and processes must do for. */
const WORKER_BYTES = 130 * MIB
/** Three pipes of a worker, its spool, a caller's socket; and what a host has open anyway. */
const DESCRIPTORS = { each: 8, host: 128 }
/** The kernel counts threads: a `claude` has about 20, and its tools some more. */
const TASKS = { each: 40, host: 64 }

/** One turn may put this much on disk for a reader that has stopped (`limits.spool`). */
const DISK_USEFUL = GIB
const DISK_LEAST = 100 * MIB

/** How far two clocks may differ over a moment; the wall clock may be slewed, not set. */
const DRIFT_MS = 50
/** A wall clock before this was never set: certificates are not yet valid then. */
const EARLIEST_WALL = 1_750_000_000_000

export interface CgroupFacts {
  platform: NodeJS.Platform
  /** The places of this process, v2 first. */
  places: readonly (CgroupPlace & { writable: boolean })[]
  /** What `isolation` of the config limits. */
  wanted: readonly Controller[]
}

export interface TaskFacts {
  /** RLIMIT_NPROC; undefined: no limit, or none that holds (root). */
  limit: number | undefined
  /** What the pids cgroup still allows; undefined: no limit. */
  cgroupRoom: number | undefined
}

export interface ClockFacts {
  /** How far each clock went between two looks, in milliseconds. */
  monotonicMs: number
  wallMs: number
  /** Milliseconds since the epoch. */
  wall: number
  bootId: string
  platform: NodeJS.Platform
}

/** Whether a user namespace can be made; undefined: there is no way to try. */
export type NamespaceFacts = boolean | undefined

/** So many workers may have to be borne. */
const workersIn = (memoryBytes: number): number => Math.max(1, Math.floor(memoryBytes / WORKER_BYTES))

export function checkMemory({ limitBytes, source }: MemoryFacts): Finding {
  const { ok, warning, error } = verdicts('memory')
  const says = `${formatSize(limitBytes)}, by ${source}`
  const raise = 'raise the limit; `claude-agent-pool size` tells what your agents need'
  if (limitBytes < MEMORY_LEAST) return error(`${says}: too little for a host and one turn`, raise)
  if (limitBytes < MEMORY_USEFUL) return warning(`${says}: a few turns at once`, raise)
  return ok(says)
}

export function checkCgroups({ platform, places, wanted }: CgroupFacts): Finding {
  const { ok, warning, error } = verdicts('cgroups')
  const placeOf = (name: Controller): CgroupPlace | undefined =>
    places.find(({ writable, controllers }) => writable && controllers.includes(name))
  const missing = wanted.filter((name) => placeOf(name) === undefined).map((name) => `isolation.${name}`)
  if (missing.length > 0)
    return error(
      `${missing.join(', ')} cannot be held: no cgroup can be made that limits it`,
      'run it as root, or with systemd’s Delegate=yes, or leave it out',
    )
  if (platform !== 'linux') return ok(`there are none on ${platform}; the machine's memory is the limit`)
  const memory = places.find(({ controllers }) => controllers.includes('memory'))
  const counted = memory === undefined ? 'no memory controller' : `memory by v${memory.version}`
  const advice =
    'run it as root, or with systemd’s Delegate=yes; without, a process that hides and detaches at once may escape'
  const own = places.find(({ writable }) => writable)
  if (own === undefined) return warning(`${counted}; none may be made, so workers have no cgroups of their own`, advice)
  const limits = CONTROLLERS.flatMap((name) => {
    const place = placeOf(name)
    return place === undefined ? [] : [`${name} (v${place.version})`]
  })
  const holds = limits.length === 0 ? 'isolation can limit nothing by it' : `isolation can limit ${limits.join(', ')}`
  return ok(`${counted}; each worker has a cgroup of its own below ${own.path}; ${holds}`)
}

export interface FreezingFacts {
  places: CgroupFacts['places']
  swap: { totalBytes: number; freeBytes: number }
}

/** Whether idle processes can be frozen, if the config wants that. */
export function checkFreezing({ places, swap }: FreezingFacts): Finding {
  const { ok, warning } = verdicts('freezing')
  const may = places.filter(({ writable }) => writable)
  if (swap.totalBytes === 0)
    return warning(
      'idle processes are not frozen: there is no swap',
      'add swap, or memorySwap: LimitedSwap in Kubernetes',
    )
  if (!may.some(({ version }) => version === 2) || !may.some(({ controllers }) => controllers.includes('memory')))
    return warning(
      'idle processes are not frozen: workers have no v2 cgroup, or none that counts memory',
      'run it as root, or with systemd’s Delegate=yes',
    )
  return ok(`idle processes are frozen; ${formatSize(swap.freeBytes)} of ${formatSize(swap.totalBytes)} swap are free`)
}

/** The sentinel does its work, so this is never a reason to worry. */
export function checkSetpriv(path: string | undefined): Finding {
  const { ok } = verdicts('setpriv')
  return ok(path ?? 'not there, and not needed: a sentinel ends what a host that died has left')
}

export function checkNamespaces(allowed: NamespaceFacts): Finding {
  const { ok, warning } = verdicts('user namespaces')
  if (allowed === true) return ok('can be made')
  return warning(
    allowed === false ? 'cannot be made' : 'not known: there is no unshare to try it with',
    'CLAUDE_CODE_SUBPROCESS_ENV_SCRUB, which hides the credential from tools, needs them or bubblewrap',
  )
}

export function checkDescriptors(limit: number | undefined, memoryBytes: number): Finding {
  const { ok, warning, error } = verdicts('file descriptors')
  if (limit === undefined) return ok('no limit')
  const wanted = DESCRIPTORS.host + DESCRIPTORS.each * workersIn(memoryBytes)
  const advice = `ulimit -n ${wanted}, or LimitNOFILE= in systemd, or --ulimit nofile= in Docker`
  if (limit < DESCRIPTORS.host + DESCRIPTORS.each) return error(`${limit}: not enough for one worker`, advice)
  if (limit < wanted) return warning(`${limit}; as many workers as fit into memory need ${wanted}`, advice)
  return ok(String(limit))
}

export function checkTasks({ limit, cgroupRoom }: TaskFacts, memoryBytes: number): Finding {
  const { ok, warning, error } = verdicts('processes')
  const room = Math.min(limit ?? Infinity, cgroupRoom ?? Infinity)
  if (room === Infinity) return ok('no limit')
  const which = room === cgroupRoom ? 'more, by the pids cgroup' : 'for this user (ulimit -u)'
  const wanted = TASKS.host + TASKS.each * workersIn(memoryBytes)
  const advice = `allow ${wanted}: ulimit -u, TasksMax= in systemd, --pids-limit in Docker; threads count`
  if (room < TASKS.host + TASKS.each) return error(`${room} ${which}: not enough for one worker`, advice)
  if (room < wanted) return warning(`${room} ${which}; as many workers as fit into memory need ${wanted}`, advice)
  return ok(`${room} ${which}`)
}

export function checkDisk({ path, freeBytes, writable, closedBy }: DiskFacts): Finding {
  const { ok, warning, error } = verdicts('data directory')
  if (!writable)
    return closedBy === undefined
      ? error(`${path} cannot be written to`, 'give its owner the right to, or choose --data-dir')
      : error(closedBy, 'run the pool as that user, or choose --data-dir')
  const says = `${formatSize(freeBytes)} free at ${path}`
  const advice = 'make room: it holds sessions, transcripts, workspaces, and output that waits for slow readers'
  if (freeBytes < DISK_LEAST) return error(says, advice)
  if (freeBytes < DISK_USEFUL) return warning(says, advice)
  return ok(says)
}

export function checkClock({ monotonicMs, wallMs, wall, bootId, platform }: ClockFacts): Finding {
  const { ok, warning, error } = verdicts('clock')
  const set = 'set the clock, and keep it set (NTP)'
  if (!(monotonicMs > 0))
    return error('the monotonic clock stands still', 'no time limit works here: repair the kernel')
  if (wall < EARLIEST_WALL) return error(`it is ${wall} ms since 1970, they say`, set)
  if (Math.abs(wallMs - monotonicMs) > DRIFT_MS)
    return warning(`in ${Math.round(monotonicMs)} ms the wall clock went ${Math.round(wallMs)}`, set)
  if (platform === 'linux' && bootId === 'unknown')
    return warning(
      '/proc/sys/kernel/random/boot_id cannot be read',
      'let it be read: without it, a host of before a reboot may be taken for one that runs',
    )
  return ok(platform === 'linux' ? 'monotonic, wall and boot id agree' : 'monotonic and wall agree')
}

const processes = (count: number): string => (count === 1 ? '1 process' : `${count} processes`)

export function checkOrphans(count: number): Finding {
  const { ok, error } = verdicts('orphans')
  if (count === 0) return ok('none')
  return error(`${processes(count)} of hosts that are gone`, 'end them with: claude-agent-pool doctor --reap')
}
