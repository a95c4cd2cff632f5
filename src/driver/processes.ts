import { readFileSync } from 'node:fs'
import { systemClock } from '../clock.ts'
import { anonymousBytes } from '../memory/tree-memory.ts'
import { ticksSinceBoot } from '../process/table.ts'
import type { ProcessEntry } from '../process/table.ts'
import type { ProcessInfo } from './driver.ts'

function commandOf(pid: number): string {
  try {
    const [program = '', ...words] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return [program.split('/').at(-1), ...words].join(' ').trim()
  } catch {
    return '?'
  }
}

/** Start times are hundredths of a second since boot on Linux, else milliseconds since the epoch. */
const ageMs = (startTime: string): number =>
  process.platform === 'linux' ? (ticksSinceBoot() - Number(startTime)) * 10 : systemClock.wall() - Number(startTime)

const describe = ({ pid, ppid, startTime }: ProcessEntry, depth: number): ProcessInfo => ({
  pid,
  ppid,
  depth,
  command: commandOf(pid),
  ageMs: Math.max(0, Math.round(ageMs(startTime))),
  memoryBytes: anonymousBytes(pid),
})

/** What a table shows of a tree: parents before their children; what has lost its parent stands at the top; oldest first. */
export function inOrder(members: readonly ProcessEntry[]): ProcessInfo[] {
  const pids = new Set(members.map(({ pid }) => pid))
  const byAge = members.toSorted((a, b) => Number(a.startTime) - Number(b.startTime) || a.pid - b.pid)
  const below = (parent: ProcessEntry, depth: number): ProcessInfo[] => [
    describe(parent, depth),
    ...byAge.filter(({ ppid }) => ppid === parent.pid).flatMap((child) => below(child, depth + 1)),
  ]
  return byAge.filter(({ ppid }) => !pids.has(ppid)).flatMap((root) => below(root, 0))
}
