import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hostLives, thisHost } from './marker.ts'
import type { HostIdentity } from './marker.ts'
import { register } from './registered.ts'

/** What is known of one worker outside its host: its host, and the session whose conversation it holds. */
export interface RunEntry {
  workerId: string
  host: HostIdentity
  pid: number | undefined
  agent: string
  tenant: string
  session: string | undefined
  /** Milliseconds since the epoch. */
  startedAt: number
}

const pathOf = (dir: string, workerId: string): string => join(dir, `${workerId}.json`)

/** One small file for each worker, so that other processes can tell what is what, also after the host has died. */
export class RunFiles {
  readonly #dir: string

  /** Makes the folder. */
  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  }

  write(entry: Omit<RunEntry, 'host'>): void {
    const path = pathOf(this.#dir, entry.workerId)
    writeFileSync(`${path}.new`, JSON.stringify({ ...entry, host: thisHost }), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  remove(workerId: string): void {
    rmSync(pathOf(this.#dir, workerId), { force: true })
  }
}

/** Forgets the workers of hosts that are gone: for when their processes are, too. */
export function pruneRuns(dir: string): void {
  for (const { workerId, host } of readRunFiles(dir))
    if (!hostLives(host)) rmSync(pathOf(dir, workerId), { force: true })
}

/** Makes the workers of these hosts known where markers cannot be read. */
export function registerRuns(dir: string): void {
  for (const { pid, startedAt, host, workerId } of readRunFiles(dir)) {
    if (pid !== undefined) register({ pid, startTime: String(startedAt) }, { host, workerId })
  }
}

/** All entries of a folder; none where there is no such folder. */
export function readRunFiles(dir: string): RunEntry[] {
  let names: string[]
  try {
    names = readdirSync(dir)
  } catch {
    return []
  }
  return names.filter((name) => name.endsWith('.json')).flatMap((name) => readEntry(join(dir, name)))
}

function readEntry(path: string): RunEntry[] {
  try {
    return [JSON.parse(readFileSync(path, 'utf8')) as RunEntry]
  } catch {
    // Removed meanwhile.
    return []
  }
}
