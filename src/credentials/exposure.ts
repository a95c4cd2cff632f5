import { readFileSync, readdirSync } from 'node:fs'

/** A process that shows a secret to the others of its user. */
export interface Exposure {
  pid: number
  command: string
  /** What shows it, by the names of files in `/proc/PID`. */
  in: 'environ' | 'cmdline'
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    // It is gone, or another user's.
    return ''
  }
}

function pids(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

/** What is shorter than this is found anywhere by chance. */
const SHORTEST = 8

/** Processes that show one of these secrets in their environment or arguments, as far as this user can see; none without `/proc`. */
export function exposuresOf(given: readonly string[]): Exposure[] {
  const secrets = given.filter(({ length }) => length >= SHORTEST)
  if (secrets.length === 0) return []
  return pids().flatMap((pid) =>
    (['environ', 'cmdline'] as const).flatMap((name) => {
      const text = textOf(`/proc/${pid}/${name}`)
      if (!secrets.some((secret) => text.includes(secret))) return []
      return [{ pid, command: textOf(`/proc/${pid}/comm`).trim(), in: name }]
    }),
  )
}

/** Whether processes of one user can read each other's memory: the host's and the proxy's, too. */
export function memoryIsOpen(): boolean {
  return (
    process.platform === 'linux' &&
    (process.getuid?.() === 0 || textOf('/proc/sys/kernel/yama/ptrace_scope').trim() === '0')
  )
}
