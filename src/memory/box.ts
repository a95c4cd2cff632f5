import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { parseOomKills } from './oom.ts'

const PREFIX = 'claude-agent-pool-box'

/** The files of a memory controller, by version of its cgroups. */
interface Files {
  limit: string
  /** What keeps memory from going to the swap instead; not every kernel has it. */
  swap: string
  swapValue: (limitBytes: number) => string
  used: string
  /** The line of memory.stat for what was read from files and is not in use: the kernel takes it back when it needs it. */
  cache: RegExp
  kills: string
}

const V1: Files = {
  limit: 'memory.limit_in_bytes',
  swap: 'memory.memsw.limit_in_bytes',
  swapValue: String,
  used: 'memory.usage_in_bytes',
  cache: /^total_inactive_file (\d+)$/m,
  kills: 'memory.oom_control',
}

const V2: Files = {
  limit: 'memory.max',
  swap: 'memory.swap.max',
  swapValue: () => '0',
  used: 'memory.current',
  cache: /^inactive_file (\d+)$/m,
  kills: 'memory.events',
}

/** What happened in a box. */
export interface BoxUse {
  /** Bytes charged now, without what is only cached. */
  usedBytes: number
  /** Processes that the kernel has killed for memory since the box was made. */
  oomKills: number
}

let made = 0

/** A memory cgroup of our own, with a limit: a real box to run something in. Where one may be made: as root, on Linux. */
export class MemoryBox {
  readonly path: string
  readonly #files: Files

  private constructor(path: string, files: Files) {
    this.path = path
    this.#files = files
  }

  /** Makes a box, and removes the boxes of dead processes. Undefined if none may be made. */
  static make(limitBytes: number, mount: string = '/sys/fs/cgroup'): MemoryBox | undefined {
    for (const [parent, files] of controllers(mount)) {
      removeAbandoned(parent)
      const path = join(parent, `${PREFIX}.${process.pid}.${(made += 1)}`)
      try {
        mkdirSync(path)
        writeFileSync(join(path, files.limit), String(limitBytes))
      } catch {
        removeEmpty(path)
        continue
      }
      try {
        writeFileSync(join(path, files.swap), files.swapValue(limitBytes))
      } catch {
        // A kernel that does not account for swap.
      }
      return new MemoryBox(path, files)
    }
    return undefined
  }

  /** The words before a command line that make it run in here from its first page on: they need a shell. */
  get wrapper(): [command: string, ...args: string[]] {
    return ['/bin/sh', '-c', `echo $$ > '${join(this.path, 'cgroup.procs')}' && exec "$@"`, 'sh']
  }

  read(): BoxUse {
    const text = (file: string): string => readFileSync(join(this.path, file), 'latin1')
    const cached = Number(this.#files.cache.exec(text('memory.stat'))?.[1] ?? 0)
    return {
      usedBytes: Math.max(0, Number(text(this.#files.used)) - cached),
      oomKills: parseOomKills(text(this.#files.kills)) ?? 0,
    }
  }

  /** Removes it. False while something lives in it. */
  remove(): boolean {
    return removeEmpty(this.path)
  }
}

/** Where cgroups with a memory controller may be made. */
function* controllers(mount: string): Generator<[parent: string, files: Files]> {
  const v1 = join(mount, 'memory')
  if (existsSync(join(v1, V1.limit)) && mayWrite(v1)) yield [v1, V1]
  try {
    const offered = readFileSync(join(mount, 'cgroup.controllers'), 'latin1')
    if (!offered.split(/\s/).includes('memory')) return
    const control = join(mount, 'cgroup.subtree_control')
    if (!readFileSync(control, 'latin1').split(/\s/).includes('memory')) writeFileSync(control, '+memory')
    yield [mount, V2]
  } catch {
    // Not mounted, or not ours to write to.
  }
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    const [prefix, pid = ''] = name.split('.')
    if (prefix === PREFIX && !existsSync(join('/proc', pid))) removeEmpty(join(parent, name))
  }
}

function removeEmpty(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch {
    return !existsSync(path)
  }
}
