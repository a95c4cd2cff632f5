import type { Clock } from '../clock.ts'
import type { SessionKey, SessionStore, SessionStoreEntry } from '../driver/driver.ts'
import type { Store, TranscriptKey } from './store.ts'

/** One tenant's transcripts in a store, as the SDK's `sessionStore` option and its session functions take them. */
export function sessionStore(
  store: Store,
  tenant: string,
  clock: Pick<Clock, 'wall'>,
): Required<Pick<SessionStore, 'append' | 'load' | 'listSessions' | 'delete' | 'listSubkeys'>> {
  const keyOf = ({ projectKey, sessionId, subpath }: SessionKey): TranscriptKey => ({
    tenant,
    project: projectKey,
    sdkSessionId: sessionId,
    subpath,
  })
  return {
    append: (key, entries) =>
      store.appendTranscript(
        keyOf(key),
        entries.map((entry) => ({ uuid: entry.uuid, json: JSON.stringify(entry) })),
        Math.floor(clock.wall()),
      ),
    async load(key) {
      const entries = await store.loadTranscript(keyOf(key))
      return entries === undefined ? null : entries.map((json) => JSON.parse(json) as SessionStoreEntry)
    },
    async listSessions(projectKey) {
      const listed = await store.listTranscripts(tenant, projectKey)
      return listed.map(({ sdkSessionId, writtenAt }) => ({ sessionId: sdkSessionId, mtime: writtenAt }))
    },
    delete: (key) => store.removeTranscript(keyOf(key)),
    listSubkeys: (key) => store.listSubpaths(keyOf(key)),
  }
}
