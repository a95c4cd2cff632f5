import { describe } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import { accountConformance } from './accounts.ts'
import { eventConformance } from './events.ts'
import { ownershipConformance } from './ownership.ts'
import { sessionConformance } from './sessions.ts'
import { transcriptConformance } from './transcripts.ts'

/** What every store must do. `open` gives an empty one each time, and one at a time. */
export function storeConformance(open: () => Promise<Store>): void {
  // Each in its own suite: their hooks are for their own tests.
  describe('sessions', () => {
    sessionConformance(open)
  })
  describe('ownership', () => {
    ownershipConformance(open)
  })
  describe('events', () => {
    eventConformance(open)
  })
  describe('transcripts', () => {
    transcriptConformance(open)
  })
  describe('accounts', () => {
    accountConformance(open)
  })
}
