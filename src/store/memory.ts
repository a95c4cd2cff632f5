import type { SessionPage, SessionRecord, Store } from './store.ts'

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/** The order of databases. JavaScript's own is that of UTF-16, which puts an emoji before U+FF5E. */
const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** A store that lasts as long as the process: for tests and for conversations that nobody comes back to. */
export class MemoryStore implements Store {
  readonly #sessions = new Map<string, SessionRecord>()

  get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    return Promise.resolve(copy(this.#sessions.get(idOf(tenant, key))))
  }

  findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined> {
    for (const record of this.#sessions.values()) {
      if (record.sdkSessionId === sdkSessionId) return Promise.resolve(copy(record))
    }
    return Promise.resolve(undefined)
  }

  put(record: SessionRecord): Promise<void> {
    this.#sessions.set(idOf(record.tenant, record.key), { ...record })
    return Promise.resolve()
  }

  touch({ tenant, key, uid, turns, lastUsedAt }: Parameters<Store['touch']>[0]): Promise<void> {
    const record = this.#sessions.get(idOf(tenant, key))
    if (record?.uid === uid) Object.assign(record, { turns, lastUsedAt })
    return Promise.resolve()
  }

  remove(tenant: string, key: string): Promise<void> {
    this.#sessions.delete(idOf(tenant, key))
    return Promise.resolve()
  }

  list({ tenant, after, limit }: SessionPage): Promise<SessionRecord[]> {
    const from = after === undefined ? '' : idOf(after.tenant, after.key)
    const records = [...this.#sessions.entries()]
      .filter(([id, record]) => byCodePoint(id, from) > 0 && (tenant === undefined || record.tenant === tenant))
      .toSorted(([a], [b]) => byCodePoint(a, b))
      .slice(0, limit)
    return Promise.resolve(records.map(([, record]) => ({ ...record })))
  }

  count(): Promise<number> {
    return Promise.resolve(this.#sessions.size)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

const copy = (record: SessionRecord | undefined): SessionRecord | undefined =>
  record === undefined ? undefined : { ...record }
