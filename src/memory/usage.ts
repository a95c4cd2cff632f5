import { readFileSync } from 'node:fs'

/**
 * Anonymous memory of one process in bytes, from `/proc/PID/status`: what it shares with nobody, for 15 µs instead of
 * the 3 ms of an exact sample. Undefined where there is no such file.
 */
export function anonymousBytes(pid: number): number | undefined {
  try {
    const match = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return match?.[1] === undefined ? undefined : Number(match[1]) * 1024
  } catch {
    return undefined
  }
}
