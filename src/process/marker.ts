import { readFileSync } from 'node:fs'
import { systemClock } from '../clock.ts'

/** The variable every process of a pool inherits. It names the host and the worker, so that all descendants can be found. */
export const MARKER_VARIABLE = 'CLAUDE_AGENT_POOL_MARKER'

/** A process identity that survives pid reuse. */
export interface HostIdentity {
  pid: number
  /** Start time in clock ticks since boot (Linux), or in milliseconds since the epoch elsewhere. */
  startTime: string
  bootId: string
}

/** Start time of a process in clock ticks since boot, from `/proc/PID/stat`; undefined when there is no such process. */
export function startTimeOf(pid: number): string | undefined {
  try {
    // The command name may contain spaces and brackets: fields are counted from the last ")".
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return 'unknown'
  }
}

/** The identity of this process. */
export const thisHost: HostIdentity = {
  pid: process.pid,
  startTime: startTimeOf(process.pid) ?? String(Math.round(systemClock.wall() - systemClock.now())),
  bootId: readBootId(),
}

/** The marker's value for one worker of this host. */
export const markerOf = (workerId: string): string =>
  `${thisHost.pid}:${thisHost.startTime}:${thisHost.bootId}:${workerId}`
