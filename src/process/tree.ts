import { readFileSync, readdirSync } from 'node:fs'
import { MARKER_VARIABLE, startTimeOf } from './marker.ts'

/** A process, safe against pid reuse: the same pid with another start time is another process. */
export interface ProcessIdentity {
  pid: number
  startTime: string
}

function hasMarker(pid: number, marker: string): boolean {
  try {
    return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`.includes(`\0${MARKER_VARIABLE}=${marker}\0`)
  } catch {
    return false
  }
}

function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.charAt(stat.lastIndexOf(')') + 2) === 'Z'
  } catch {
    return true
  }
}

/** Living processes whose environment carries exactly this marker. Empty where there is no `/proc`. */
export function markedProcesses(marker: string): ProcessIdentity[] {
  let entries: string[]
  try {
    entries = readdirSync('/proc')
  } catch {
    return []
  }
  const found: ProcessIdentity[] = []
  for (const entry of entries) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || !hasMarker(pid, marker) || isZombie(pid)) continue
    const startTime = startTimeOf(pid)
    if (startTime !== undefined) found.push({ pid, startTime })
  }
  return found
}

/** Signals a process if it is still the one that was meant. False when it is gone. */
export function signalProcess({ pid, startTime }: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (startTimeOf(pid) !== startTime) return false
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
