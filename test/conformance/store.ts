import type { Store } from '../../src/store/store.ts'
import { eventConformance } from './events.ts'
import { sessionConformance } from './sessions.ts'
import { transcriptConformance } from './transcripts.ts'

/** What every store must do. */
export function storeConformance(open: () => Promise<Store>): void {
  sessionConformance(open)
  eventConformance(open)
  transcriptConformance(open)
}
