import { execFileSync } from 'node:child_process'
import { freemem, totalmem } from 'node:os'
import { TOOL_TIMEOUT_MS } from './start-time.ts'

/** What `vm_stat` of macOS calls available memory: free, or reclaimable at once. */
const AVAILABLE = ['Pages free', 'Pages inactive', 'Pages speculative']

/** Bytes that are available, from what `vm_stat` prints. */
export function parseVmStat(text: string): number | undefined {
  const page = /page size of (\d+) bytes/.exec(text)?.[1]
  const pages = AVAILABLE.map((name) => new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1])
  if (page === undefined || pages.includes(undefined)) return undefined
  return pages.reduce((sum, count) => sum + Number(count), 0) * Number(page)
}

/** Memory of a machine that has no `/proc/meminfo`, in bytes. On macOS "free" would leave out what is free for the asking. */
export function machineMemory(): { total: number; free: number } {
  const total = totalmem()
  if (process.platform !== 'darwin') return { total, free: freemem() }
  try {
    const text = execFileSync('vm_stat', { encoding: 'utf8', timeout: TOOL_TIMEOUT_MS })
    return { total, free: parseVmStat(text) ?? freemem() }
  } catch {
    return { total, free: freemem() }
  }
}
