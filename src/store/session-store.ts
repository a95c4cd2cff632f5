import type { Clock } from '../clock.ts'
import type { SessionKey, SessionStore, SessionStoreEntry } from '../driver/driver.ts'
import type { SessionClaim, SessionOwnership, Store, TranscriptKey } from './store.ts'

/** Gives the transcripts of a conversation to this project. `ownership`: of the session that has it. */
export function moveTranscripts(
  store: Store,
  { tenant, sdkSessionId, project }: Pick<TranscriptKey, 'tenant' | 'sdkSessionId' | 'project'>,
  ownership: SessionOwnership | undefined,
): Promise<void> {
  const move = (claim?: SessionClaim): Promise<void> => store.moveTranscripts(tenant, sdkSessionId, project, claim)
  return ownership?.isStored === true ? ownership.write(move) : move()
}

/**
 * One tenant's transcripts in a store, as the SDK's `sessionStore` option and its session functions take them. `ownership`: of the
 * session that has the conversation.
 */
export function sessionStore(
  store: Store,
  tenant: string,
  clock: Pick<Clock, 'wall'>,
  ownership: () => SessionOwnership | undefined = () => undefined,
): Required<Pick<SessionStore, 'append' | 'load' | 'listSessions' | 'delete' | 'listSubkeys'>> {
  const keyOf = ({ projectKey, sessionId, subpath }: SessionKey): TranscriptKey => ({
    tenant,
    project: projectKey,
    sdkSessionId: sessionId,
    subpath,
  })
  const write = (work: (claim?: SessionClaim) => Promise<void>): Promise<void> => {
    const owner = ownership()
    return owner?.isStored === true ? owner.write(work) : work()
  }
  return {
    append(key, entries) {
      const added = entries.map((entry) => ({ uuid: entry.uuid, json: JSON.stringify(entry) }))
      return write((claim) => store.appendTranscript(keyOf(key), added, Math.floor(clock.wall()), claim))
    },
    async load(key) {
      const entries = await store.loadTranscript(keyOf(key))
      return entries === undefined ? null : entries.map((json) => JSON.parse(json) as SessionStoreEntry)
    },
    async listSessions(projectKey) {
      const listed = await store.listTranscripts(tenant, projectKey)
      return listed.map(({ sdkSessionId, writtenAt }) => ({ sessionId: sdkSessionId, mtime: writtenAt }))
    },
    delete: (key) => write((claim) => store.removeTranscript(keyOf(key), claim)),
    listSubkeys: (key) => store.listSubpaths(keyOf(key)),
  }
}
