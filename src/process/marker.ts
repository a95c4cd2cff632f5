import { readFileSync, readlinkSync } from 'node:fs'
import { systemClock } from '../clock.ts'
import { sameStart, startTimeOf } from './start-time.ts'

/** The variable every process of a pool inherits. It names the host and the worker, so that all descendants can be found. */
export const MARKER_VARIABLE = 'CLAUDE_AGENT_POOL_MARKER'

/** In a marker, the credential proxy of a host: it serves all workers and is none. */
export const PROXY_ID = 'credential-proxy'

/** A process, safe against pid reuse: the same pid with another start time is another process. */
export interface ProcessIdentity {
  pid: number
  /** Clock ticks since boot (Linux), else milliseconds since the epoch. */
  startTime: string
}

/** A host: a process of this boot. */
export interface HostIdentity extends ProcessIdentity {
  bootId: string
}

/** What a marker says. */
export interface Marker {
  host: HostIdentity
  /** Or `PROXY_ID`. */
  workerId: string
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return 'unknown'
  }
}

/** This process. */
export const thisHost: HostIdentity = {
  pid: process.pid,
  startTime:
    process.platform === 'linux'
      ? (startTimeOf(process.pid) ?? '0')
      : String(Math.round(systemClock.wall() - systemClock.now())),
  bootId: readBootId(),
}

const prefixOf = ({ pid, startTime, bootId }: HostIdentity): string => `${pid}:${startTime}:${bootId}`

/** The marker's value for one worker of this host. */
export const markerOf = (workerId: string): string => `${prefixOf(thisHost)}:${workerId}`

/** Reads a marker's value; undefined for anything else. */
export function parseMarker(value: string): Marker | undefined {
  const [pid, startTime, bootId, workerId, ...rest] = value.split(':')
  if (!/^\d+$/.test(pid ?? '') || !startTime || !bootId || !workerId || rest.length > 0) return undefined
  return { host: { pid: Number(pid), startTime, bootId }, workerId }
}

export const isSameHost = (a: HostIdentity, b: HostIdentity): boolean => prefixOf(a) === prefixOf(b)

/** True while that very process runs. */
export const hostLives = ({ pid, startTime, bootId }: HostIdentity): boolean =>
  bootId === thisHost.bootId && sameStart(startTimeOf(pid), startTime)

/** The pid namespace in which this process sees others, by the kernel's number; `0` if the kernel does not say. */
export function pidNamespace(pid: number | 'self' = 'self'): string {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${pid}/ns/pid`))?.[0] ?? '0'
  } catch {
    return '0'
  }
}
