import { isOverdue } from './resident.ts'
import type { ResidencyPolicy } from './resident.ts'

/** Goes by the time of the last use alone. */
export const fixed: ResidencyPolicy = {
  worth: (_worker, { savedPerMs }) => savedPerMs,
  isForgotten: (worker, _forecast, { now }) => isOverdue(worker, now),
}
