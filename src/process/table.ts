import { readFileSync, readdirSync } from 'node:fs'
import { readSmallFile } from '../small-file.ts'
import { readForeignTable } from './foreign-table.ts'
import { MARKER_VARIABLE, parseMarker } from './marker.ts'
import type { Marker, ProcessIdentity } from './marker.ts'
import { registeredMarker } from './registered.ts'
import { statFields } from './start-time.ts'

/** One process, as the kernel shows it. */
export interface ProcessEntry extends ProcessIdentity {
  ppid: number
  group: number
  session: number
  /** Its marker; undefined when it has none, has cleared its environment, or belongs to another user. */
  marker: Marker | undefined
}

/** A process's environment does not change in a way that concerns us: a marker is read once for each process. */
type MarkerCache = Map<number, { startTime: string; marker: Marker | undefined }>

/** A young process may still be its parent's image: until it has called exec its environment says nothing about it. */
const YOUNG_TICKS = 200

/** They take half a millisecond. */
const PROCESSES_A_STEP = 20

const isPid = (name: string): boolean => /^\d+$/.test(name)

function readMarker(pid: number): Marker | undefined {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    const start = `\0${environment}`.indexOf(`\0${MARKER_VARIABLE}=`)
    if (start === -1) return undefined
    const value = environment.slice(start + MARKER_VARIABLE.length + 1)
    return parseMarker(value.slice(0, value.indexOf('\0')))
  } catch {
    return undefined
  }
}

/** Now, on the scale of start times: hundredths of a second since boot. */
export function ticksSinceBoot(): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 100
}

/** All processes of the machine: from `/proc`, sparing what was read before, or from the platform's tools. */
export class ProcessTable {
  #markers: MarkerCache = new Map()

  /** All processes that live now; zombies are dead. */
  read(): ProcessEntry[] {
    const reading = this.readInSteps()
    for (;;) {
      const { done, value } = reading.next()
      if (done === true) return value
    }
  }

  /** The same, with a rest after every few processes, in which the caller may do something else. */
  *readInSteps(): Generator<undefined, ProcessEntry[]> {
    if (process.platform !== 'linux') {
      return readForeignTable().map((entry) => ({ ...entry, marker: registeredMarker(entry) }))
    }
    const now = ticksSinceBoot()
    const seen: MarkerCache = new Map()
    const entries: ProcessEntry[] = []
    for (const [index, name] of readdirSync('/proc').filter(isPid).entries()) {
      if (index > 0 && index % PROCESSES_A_STEP === 0) yield
      const entry = this.#entry(Number(name), now, seen)
      if (entry !== undefined) entries.push(entry)
    }
    this.#markers = seen
    return entries
  }

  #entry(pid: number, now: number, seen: MarkerCache): ProcessEntry | undefined {
    try {
      const [state, ppid, group, session, ...rest] = statFields(readSmallFile(`/proc/${pid}/stat`))
      const startTime = rest[15]
      if (state === 'Z' || state === 'X' || startTime === undefined) return undefined
      const known = this.#markers.get(pid)
      const marker = known?.startTime === startTime ? known.marker : readMarker(pid)
      if (marker !== undefined || now - Number(startTime) > YOUNG_TICKS) seen.set(pid, { startTime, marker })
      return { pid, startTime, ppid: Number(ppid), group: Number(group), session: Number(session), marker }
    } catch {
      return undefined
    }
  }
}
