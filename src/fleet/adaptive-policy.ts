import { isOverdue } from './resident.ts'
import type { ResidencyPolicy } from './resident.ts'

/** Below this chance of another turn a process is not kept, though nothing needs its room. */
const UNLIKELY = 0.005

/** The same, while there is no room for one more: the next start then need not wait for its end. */
const UNLIKELY_WHEN_FULL = 0.02

/** An idle process of this size is an ordinary one; a larger one keeps the room of several. */
const ORDINARY_BYTES = 200 * 2 ** 20

/** Goes by what sessions were seen to do, as soon as enough was seen. */
export const adaptive: ResidencyPolicy = {
  worth: ({ memoryBytes = 0 }, { savedPerMs }) => savedPerMs / Math.max(1, memoryBytes / ORDINARY_BYTES),
  isForgotten(worker, forecast, { now, full }) {
    const { chance, learned } = forecast()
    if (learned && chance < (full ? UNLIKELY_WHEN_FULL : UNLIKELY)) return true
    return isOverdue(worker, now) && !(learned && worker.residency.ttlUntilLearned)
  },
}
