import type { Store } from '../store/store.ts'

const PAGE = 200

/** Bytes of a tenant's events and copies of transcripts. The event loop has its turns between the sessions. */
export async function storedBytes(store: Store, tenant: string): Promise<number> {
  let bytes = 0
  let after: { tenant: string; key: string } | undefined
  for (;;) {
    const page = await store.list({ tenant, limit: PAGE, ...(after === undefined ? {} : { after }) })
    for (const { uid, sdkSessionId } of page) {
      bytes += (await store.eventTotals(uid)).size
      if (sdkSessionId !== undefined) bytes += await store.transcriptSize(tenant, sdkSessionId)
      await new Promise((resolve) => setImmediate(resolve))
    }
    after = page.at(-1)
    if (page.length < PAGE) return bytes
  }
}
