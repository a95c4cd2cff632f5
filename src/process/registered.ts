import { sameStart } from './start-time.ts'
import type { Marker, ProcessIdentity } from './marker.ts'

/**
 * Where no tool shows the environment of a process (macOS, Windows), a worker's own process is known by what its host
 * noted of it: its pid and its start time. Empty on Linux, where the markers themselves can be read.
 */
const registered = new Map<number, { startTime: string; marker: Marker }>()

export function register({ pid, startTime }: ProcessIdentity, marker: Marker): void {
  if (process.platform !== 'linux') registered.set(pid, { startTime, marker })
}

export function unregister(pid: number): void {
  registered.delete(pid)
}

/** The marker noted for this very process. */
export function registeredMarker({ pid, startTime }: ProcessIdentity): Marker | undefined {
  const noted = registered.get(pid)
  return noted !== undefined && sameStart(noted.startTime, startTime) ? noted.marker : undefined
}
