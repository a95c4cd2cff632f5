import { execFileSync } from 'node:child_process'
import { TOOL_TIMEOUT_MS, parseStartTime } from './start-time.ts'

/** A process as the tools of macOS and Windows show it: they show no environment, and so no marker. */
export interface ForeignEntry {
  pid: number
  ppid: number
  group: number
  session: number
  startTime: string
}

/** A busy Windows machine lists some thousand processes at 100 bytes each. */
const MAX_OUTPUT_BYTES = 16 * 2 ** 20

const WINDOWS_SCRIPT =
  'Get-CimInstance Win32_Process | ForEach-Object { "$($_.ProcessId) $($_.ParentProcessId) $(if ($_.CreationDate) { $_.CreationDate.ToUniversalTime().ToString(\'o\') })" }'

/** The tool that lists all processes. */
export const listQuery = (platform: NodeJS.Platform): [command: string, args: string[]] =>
  platform === 'win32'
    ? ['powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', WINDOWS_SCRIPT]]
    : ['ps', ['-axo', 'pid=,ppid=,pgid=,state=,lstart=']]

/** Reads what `ps` of macOS prints; zombies are dead. A process group stands for the session, which it does not tell. */
export function parsePs(text: string): ForeignEntry[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, ppid, group, state, started] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.+)$/.exec(line) ?? []
    const startTime = parseStartTime('darwin', started ?? '')
    if (startTime === undefined || state?.startsWith('Z') === true) return []
    return [{ pid: Number(pid), ppid: Number(ppid), group: Number(group), session: Number(group), startTime }]
  })
}

/** Reads what the script prints on Windows. There are no groups or sessions: each process is its own. */
export function parseWindowsList(text: string): ForeignEntry[] {
  const entries = text.split('\n').flatMap((line) => {
    const [, pid, ppid, started] = /^(\d+) (\d+) (\S+)\s*$/.exec(line.trim()) ?? []
    const startTime = parseStartTime('win32', started ?? '')
    if (startTime === undefined) return []
    return [{ pid: Number(pid), ppid: Number(ppid), group: Number(pid), session: Number(pid), startTime }]
  })
  const started = new Map(entries.map(({ pid, startTime }) => [pid, Number(startTime)]))
  // Windows keeps the number of a parent that is gone, and may have given it to a younger process.
  return entries.map((entry) =>
    (started.get(entry.ppid) ?? Infinity) <= Number(entry.startTime) ? entry : { ...entry, ppid: 0 },
  )
}

/** All processes, by the platform's own tool; empty when it fails. */
export function readForeignTable(platform: NodeJS.Platform = process.platform): ForeignEntry[] {
  const [command, args] = listQuery(platform)
  try {
    const text = execFileSync(command, args, {
      encoding: 'utf8',
      timeout: TOOL_TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
      windowsHide: true,
    })
    return platform === 'win32' ? parseWindowsList(text) : parsePs(text)
  } catch {
    return []
  }
}
