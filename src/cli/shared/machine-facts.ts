import { accessSync, constants, statSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MemoryLimit } from '../../memory/limit.ts'
import { machineMemory } from '../../process/machine-memory.ts'
import { closedBy } from '../../store/access.ts'

export interface MemoryFacts {
  limitBytes: number
  /** What sets the limit: a cgroup's file, or the machine. */
  source: string
}

export interface DiskFacts {
  path: string
  freeBytes: number
  writable: boolean
  /** The owner that keeps this process out; undefined if rights are not the reason. */
  closedBy?: string | undefined
}

/** True if this process may access `path` in this way (a constant of `node:fs`). */
export function mayAccess(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

export function readMemory(): MemoryFacts {
  const { limitBytes, level } = new MemoryLimit({ now: () => 0, machine: machineMemory }).read()
  return { limitBytes, source: level === 'machine' ? "the machine's memory" : "this container's limit" }
}

/** The disk of a directory, or of the nearest one above it that exists. */
export function readDisk(dataDir: string): DiskFacts {
  let path = resolve(dataDir)
  while (!exists(path) && dirname(path) !== path) path = dirname(path)
  const { bavail, bsize } = statfsSync(path)
  const directory = statSync(path).isDirectory()
  const writable = directory && mayAccess(path, constants.W_OK)
  return { path, freeBytes: bavail * bsize, writable, ...(writable ? {} : { closedBy: closedBy(path) }) }
}

const exists = (path: string): boolean => mayAccess(path, constants.F_OK)
