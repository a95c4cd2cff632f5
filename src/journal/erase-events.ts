import type { SessionClaim, Store } from '../store/store.ts'

/** What is removed in one go: SQLite overwrites every page of it, which takes some 30 ms. */
const PIECE_BYTES = 4 * 2 ** 20

/** Removes most of a session's events ahead of the session, a few megabytes at a time, so that others have their turn. */
export async function eraseEvents(store: Store, claim: SessionClaim): Promise<void> {
  const { first, last, size } = await store.eventTotals(claim.uid)
  const pieces = Math.ceil(size / PIECE_BYTES)
  for (let piece = 1; piece < pieces; piece += 1) {
    await store.trimEvents(claim, first + Math.ceil(((last - first + 1) * piece) / pieces))
    await new Promise((resolve) => setImmediate(resolve))
  }
}
