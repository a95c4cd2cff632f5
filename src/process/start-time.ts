import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseWall } from '../clock.ts'

/** A tool that hangs must not hang the host. */
export const TOOL_TIMEOUT_MS = 5_000

/** Where start times come from tools that round them, two readings of one process differ by at most this. */
const TOLERANCE_MS = 2_000

/** The fields of `/proc/PID/stat` after the command name, which may itself hold spaces and brackets. */
export const statFields = (stat: string): string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ')

/** True when two start times are those of one process. */
export function sameStart(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false
  if (process.platform === 'linux') return a === b
  return Math.abs(Number(a) - Number(b)) <= TOLERANCE_MS
}

/**
 * Start time of a process: clock ticks since boot (Linux), else milliseconds since the epoch. Undefined when there is no
 * such process.
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    if (process.platform === 'linux') return statFields(readFileSync(`/proc/${pid}/stat`, 'latin1'))[19]
    const [command, args] = startTimeQuery(process.platform, pid)
    return parseStartTime(
      process.platform,
      execFileSync(command, args, { encoding: 'utf8', timeout: TOOL_TIMEOUT_MS, windowsHide: true }),
    )
  } catch {
    return undefined
  }
}

/** The tool that tells a start time where there is no `/proc`. */
export function startTimeQuery(platform: NodeJS.Platform, pid: number): [command: string, args: string[]] {
  if (platform !== 'win32') return ['ps', ['-p', String(pid), '-o', 'lstart=']]
  const script = `(Get-CimInstance Win32_Process -Filter "ProcessId=${pid}").CreationDate.ToUniversalTime().ToString('o')`
  return ['powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script]]
}

/** Reads what that tool prints: `Sat Nov 21 10:35:01 2026` or `2026-11-21T10:35:01.1234567Z`. */
export function parseStartTime(platform: NodeJS.Platform, text: string): string | undefined {
  const printed = text.trim()
  // Windows prints ten-millionths of a second, more than a date may have.
  const ms = parseWall(platform === 'win32' ? printed.replace(/(\.\d{3})\d*Z$/, '$1Z') : printed)
  return Number.isNaN(ms) ? undefined : String(ms)
}
