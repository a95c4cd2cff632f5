import { execFile } from 'node:child_process'
import { constants, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemClock } from '../../clock.ts'
import { findClaudeExecutable } from '../../driver/executable.ts'
import { ownPlaces } from '../../process/cgroup-tree.ts'
import { thisHost } from '../../process/marker.ts'
import { mayAccess } from '../shared/machine-facts.ts'
import type { CgroupFacts, ClockFacts, NamespaceFacts, TaskFacts } from './machine.ts'
import type { ClaudeFacts } from './software.ts'

const run = promisify(execFile)

/** What hangs must not make the doctor hang. */
const TOOL_TIMEOUT_MS = 10_000
/** Between two looks at the clocks. */
const CLOCK_LOOK_MS = 100

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

interface SdkPackage {
  version: string
  claudeCodeVersion?: string
}

function readSdk(): SdkPackage | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve('@anthropic-ai/claude-agent-sdk')
    return JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8')) as SdkPackage
  } catch {
    return undefined
  }
}

function pathOfClaude(): string | undefined {
  try {
    return findClaudeExecutable()
  } catch {
    // Without the SDK there is none.
    return undefined
  }
}

/** Runs `claude --version`, with an empty environment. */
export async function readSoftware(): Promise<{ sdk: string | undefined; claude: ClaudeFacts }> {
  const sdk = readSdk()
  const path = pathOfClaude()
  const claude: ClaudeFacts = { path, version: undefined, problem: undefined, expected: sdk?.claudeCodeVersion }
  if (path === undefined) return { sdk: sdk?.version, claude }
  try {
    const env = { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), CLAUDE_CONFIG_DIR: tmpdir() }
    const { stdout } = await run(path, ['--version'], { timeout: TOOL_TIMEOUT_MS, env })
    claude.version = /^\d+\.\d+\.\d+\S*/.exec(stdout)?.[0]
  } catch (error) {
    claude.problem = (error as Error).message
  }
  return { sdk: sdk?.version, claude }
}

export function readCgroups(wanted: CgroupFacts['wanted']): CgroupFacts {
  const places = ownPlaces().map((place) => ({ ...place, writable: mayAccess(place.path, constants.W_OK) }))
  return { platform: process.platform, places, wanted }
}

/** Where `setpriv` is, by PATH. */
export const findSetpriv = (): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'setpriv'))
    .find((path) => mayAccess(path, constants.X_OK))

export async function tryNamespace(): Promise<NamespaceFacts> {
  try {
    await run('unshare', ['--user', 'true'], { timeout: TOOL_TIMEOUT_MS })
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : false
  }
}

/** A soft limit of this process; undefined: none, or not known. Node has raised what it may. */
function limitOf(name: string): number | undefined {
  const value = new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(textOf('/proc/self/limits') ?? '')?.[1]
  return value === undefined ? undefined : Number(value)
}

export const readDescriptorLimit = (): number | undefined => limitOf('Max open files')

export function readTasks(): TaskFacts {
  return {
    // The kernel does not hold root to it.
    limit: process.getuid?.() === 0 ? undefined : limitOf('Max processes'),
    cgroupRoom: pidsRoom(textOf('/proc/self/cgroup') ?? '', (path) => textOf(path)),
  }
}

/** What the pids controller of v1 or v2 still allows, here and further up. */
export function pidsRoom(membership: string, read: (path: string) => string | undefined): number | undefined {
  const rooms: number[] = []
  for (const line of membership.split('\n')) {
    const [, controllers = '', place = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    const mounts = controllers === '' ? ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'] : ['/sys/fs/cgroup/pids']
    if (controllers !== '' && !controllers.split(',').includes('pids')) continue
    for (const mount of mounts) {
      for (let path = join(mount, place); path.startsWith(mount); path = dirname(path)) {
        const [max, current] = ['pids.max', 'pids.current'].map((file) => Number.parseInt(read(join(path, file)) ?? ''))
        if (max !== undefined && current !== undefined && Number.isFinite(max - current)) rooms.push(max - current)
      }
    }
  }
  return rooms.length === 0 ? undefined : Math.max(0, Math.min(...rooms))
}

export async function readClock(): Promise<ClockFacts> {
  const [now, wall] = [systemClock.now(), systemClock.wall()]
  await sleep(CLOCK_LOOK_MS)
  return {
    monotonicMs: systemClock.now() - now,
    wallMs: systemClock.wall() - wall,
    wall,
    bootId: thisHost.bootId,
    platform: process.platform,
  }
}
