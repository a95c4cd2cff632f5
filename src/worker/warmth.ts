/** What a worker is started for. */
export type WorkerPurpose = 'turn' | 'ahead' | 'spare' | 'unbound'

/** How a turn's process came to be there: its own was live, or was frozen, or was started ahead, or a spare, or had to be started. */
export type Warmth = 'live' | 'thawed' | 'primed' | 'spare' | 'resumed' | 'cold'

/** The warmth of a turn on this worker. `before`: the worker that its session had as the turn came. */
export function warmthOf<W extends { turns: number; wasFrozen: boolean; purpose: WorkerPurpose; resumed: boolean }>(
  worker: W,
  before: W | undefined,
): Warmth {
  if (worker.turns > 0) return worker.wasFrozen ? 'thawed' : 'live'
  if (worker === before || worker.purpose === 'ahead') return 'primed'
  if (worker.purpose !== 'turn') return 'spare'
  return worker.resumed ? 'resumed' : 'cold'
}
