import { mkdirSync, readFileSync, writeFile, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  CONTROLLERS,
  FREEZE,
  aboveLeaf,
  handDown,
  killCgroup,
  makeFolder,
  ownPlaces,
  pidsIn,
  removeCgroup,
  subfolders,
  textOf,
  v2PathOf,
  words,
} from './cgroup-tree.ts'
import type { CgroupPlace, Controller } from './cgroup-tree.ts'
import { LIMIT_FILES, oomKillsIn, reachedLimit } from './cgroup-limits.ts'
import type { MemoryGroup } from './cgroup-memory.ts'
import { NO_LIMITS, limitsIn } from '../options/cgroup-limits.ts'
import type { WorkerLimits } from '../options/cgroup-limits.ts'
import { hostLives, pidNamespace, thisHost } from './marker.ts'
import type { HostIdentity } from './marker.ts'
import { ProcessTable } from './table.ts'

const PREFIX = 'claude-agent-pool'

/** In another pid namespace a host's pid is another process. */
const nameOf = ({ pid, startTime, bootId }: HostIdentity): string =>
  [PREFIX, pid, startTime, bootId, pidNamespace()].join('.')

function hostOf(name: string): HostIdentity | undefined {
  const [prefix, pid, startTime, bootId, namespace] = name.split('.')
  if (prefix !== PREFIX || startTime === undefined || bootId === undefined) return undefined
  if (!/^\d+$/.test(pid ?? '') || namespace !== pidNamespace()) return undefined
  return { pid: Number(pid), startTime, bootId }
}

/** Cgroups of hosts that are gone, beside which this process would make its own. */
export function abandonedCgroups(root?: string): string[] {
  return ownPlaces(root).flatMap(({ path }) =>
    subfolders(aboveLeaf(path)).filter((folder) => {
      const host = hostOf(basename(folder))
      return host !== undefined && !hostLives(host)
    }),
  )
}

/** A cgroup in one tree. */
interface Group {
  version: 1 | 2
  path: string
  /** What it can limit. */
  controllers: readonly Controller[]
}

/** The cgroups of one worker: one in each tree that is used. Nothing that the worker starts can leave them. */
export class WorkerCgroup {
  readonly #groups: readonly [Group, ...Group[]]

  constructor(groups: readonly [Group, ...Group[]]) {
    this.#groups = groups
  }

  /** Where its processes are looked for. */
  get path(): string {
    return this.#groups[0].path
  }

  get pids(): number[] {
    return pidsIn(this.path)
  }

  /** Puts a process there. Rejects if one of them does not take it. */
  async admit(pid: number): Promise<void> {
    // The kernel takes milliseconds for a move: in other threads, beside the host's own work.
    await Promise.all(this.#groups.map(({ path }) => written(join(path, 'cgroup.procs'), String(pid))))
  }

  /** True if its processes can be stopped all at once, and what they hold can be paged out. */
  get canFreeze(): boolean {
    return this.#freezing !== undefined && this.#memory !== undefined
  }

  /** Stops all its processes. SIGKILL still ends them; other signals wait. */
  freeze(): void {
    this.#setFrozen('1')
  }

  thaw(): void {
    this.#setFrozen('0')
  }

  /** The cgroup by which its memory is counted. */
  get memory(): MemoryGroup | undefined {
    return this.#memory
  }

  /** Kills all that lives there, if the kernel can do that in one stroke. */
  kill(): void {
    for (const { path } of this.#groups) killCgroup(path)
  }

  /** Removes them. False while something lives there. */
  remove(): boolean {
    return this.#groups.map(({ path }) => removeCgroup(path)).every(Boolean)
  }

  /** Processes that the kernel has killed there for memory; undefined if it does not count. */
  get oomKills(): number | undefined {
    return this.#memory && oomKillsIn(this.#memory)
  }

  /** True if its own limit of memory was reached, and not one above it. */
  get reachedMemoryLimit(): boolean {
    return this.#memory !== undefined && reachedLimit(this.#memory)
  }

  get #memory(): Group | undefined {
    return this.#groups.find(({ controllers }) => controllers.includes('memory'))
  }

  get #freezing(): string | undefined {
    const file = this.#groups.find(({ version }) => version === 2)?.path
    return file === undefined || textOf(join(file, FREEZE)) === undefined ? undefined : join(file, FREEZE)
  }

  #setFrozen(value: '0' | '1'): void {
    try {
      if (this.#freezing !== undefined) writeFileSync(this.#freezing, value)
    } catch {
      // It has gone meanwhile.
    }
  }
}

const written = (path: string, text: string): Promise<void> =>
  new Promise((resolve, reject) => writeFile(path, text, (error) => (error === null ? resolve() : reject(error))))

/** Pools of one process share the cgroup of their host. */
const users = new Map<string, number>()

/** A cgroup of this host in each tree that is used, with one below it for each worker. If such a tree may be written to. */
export class HostCgroup {
  readonly #groups: readonly [Group, ...Group[]]

  private constructor(groups: readonly [Group, ...Group[]]) {
    this.#groups = groups
    users.set(this.path, (users.get(this.path) ?? 0) + 1)
  }

  /** Makes the host's cgroups with as many of the wanted controllers as possible; undefined if there can be none. */
  static make({ wanted = [], root }: { wanted?: readonly Controller[]; root?: string } = {}): HostCgroup | undefined {
    for (const folder of abandonedCgroups(root)) removeCgroup(folder)
    const groups: Group[] = []
    for (const { place, controllers } of placesFor(wanted, ownPlaces(root))) {
      const made = makeGroup(place, controllers, root)
      if (made !== undefined) groups.push(made)
    }
    const [first, ...others] = groups
    return first === undefined ? undefined : new HostCgroup([first, ...others])
  }

  /** Where processes of all workers are looked for. */
  get path(): string {
    return this.#groups[0].path
  }

  get paths(): string[] {
    return this.#groups.map(({ path }) => path)
  }

  /** What it can limit for each worker, and by which version of cgroups its processes are known. */
  get facts(): { version: 1 | 2; controllers: Controller[] } {
    const controllers = CONTROLLERS.filter((name) => this.#groups.some((group) => group.controllers.includes(name)))
    return { version: this.#groups[0].version, controllers }
  }

  /** Makes a worker's cgroups. Undefined if there can be none. Throws if the limits cannot be set. */
  enclose(workerId: string, limits: WorkerLimits = NO_LIMITS): WorkerCgroup | undefined {
    const groups = this.#groups.map((group) => ({ ...group, path: join(group.path, workerId) }))
    const cgroup = new WorkerCgroup(groups as [Group, ...Group[]])
    try {
      for (const { path } of groups) mkdirSync(path, { recursive: true })
      this.#limit(groups, limits)
      return cgroup
    } catch (error) {
      cgroup.remove()
      if (limitsIn(limits).length > 0) throw error
      return undefined
    }
  }

  remove(): void {
    const left = (users.get(this.path) ?? 1) - 1
    users.set(this.path, left)
    if (left === 0) for (const path of this.paths) removeCgroup(path)
  }

  #limit(groups: readonly Group[], limits: WorkerLimits): void {
    for (const controller of limitsIn(limits)) {
      const group = groups.find(({ controllers }) => controllers.includes(controller))
      if (group === undefined) throw new Error(`no cgroup limits ${controller} here`)
      for (const { file, text, isNeeded } of LIMIT_FILES[controller](limits[controller] as number, group.version)) {
        try {
          writeFileSync(join(group.path, file), text)
        } catch (error) {
          if (isNeeded) throw error
        }
      }
    }
  }
}

/** The trees to use: the first one names the processes of workers, v2 if there is one. */
function placesFor(
  wanted: readonly Controller[],
  places: readonly CgroupPlace[],
): { place: CgroupPlace; controllers: Controller[] }[] {
  const limiting = new Map<CgroupPlace, Controller[]>()
  for (const controller of wanted) {
    const place = places.find(({ controllers }) => controllers.includes(controller))
    if (place !== undefined) limiting.set(place, [...(limiting.get(place) ?? []), controller])
  }
  const [naming] = [...places.filter(({ version }) => version === 2), ...limiting.keys(), ...places]
  if (naming === undefined) return []
  const used = [naming, ...[...limiting.keys()].filter((place) => place !== naming)]
  return used.map((place) => ({ place, controllers: limiting.get(place) ?? [] }))
}

function makeGroup(
  { version, path: own }: CgroupPlace,
  wanted: readonly Controller[],
  root: string | undefined,
): Group | undefined {
  const parent = version === 2 ? aboveLeaf(own) : own
  const path = join(parent, nameOf(thisHost))
  if (!makeFolder(path)) return undefined
  if (version === 1) return { version, path, controllers: wanted }
  const isDown = handDown(parent, wanted, () => companions(parent, root)) && handDown(path, wanted, () => [])
  return { version, path, controllers: isDown ? wanted : [] }
}

/** What moves aside with this process: all of a container, else what this process has started. */
function companions(path: string, root = ''): number[] {
  const pids = words(textOf(join(path, 'cgroup.procs'))).map(Number)
  const membership = readFileSync(join(root, '/proc/self/cgroup'), 'latin1')
  if (v2PathOf(membership) === '/') return pids
  const entries = new ProcessTable().read()
  const own = new Set([process.pid])
  for (let before = 0; before < own.size;) {
    before = own.size
    for (const { pid, ppid } of entries) if (own.has(ppid)) own.add(pid)
  }
  return pids.filter((pid) => own.has(pid))
}
