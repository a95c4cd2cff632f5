import type { Store } from '../../src/store/store.ts'
import { accountConformance } from './accounts.ts'
import { eventConformance } from './events.ts'
import { ownershipConformance } from './ownership.ts'
import { sessionConformance } from './sessions.ts'
import { transcriptConformance } from './transcripts.ts'

/** What every store must do. */
export function storeConformance(open: () => Promise<Store>): void {
  sessionConformance(open)
  ownershipConformance(open)
  eventConformance(open)
  transcriptConformance(open)
  accountConformance(open)
}
