/** A session's durable identity. Its key is the caller's; everything else is the pool's. */
export interface SessionRecord {
  tenant: string
  key: string
  /** Tells a session from a later one under the same key. */
  uid: string
  agent: string
  /** Where its processes run; undefined until its first, unless the caller chose it. */
  cwd: string | undefined
  /** True when the pool made `cwd` and removes it with the session. */
  ownsCwd: boolean
  /** The SDK's id of the conversation; undefined until it has one. */
  sdkSessionId: string | undefined
  /** True once a prompt of this conversation was handed to a process: from then on it is resumed, never begun anew. */
  begun: boolean
  /** Finished turns. */
  turns: number
  /** Milliseconds since the epoch. */
  createdAt: number
  lastUsedAt: number
}

/** Where the processes of one tenant live, and nobody else's. */
export interface TenantPlaces {
  home: string
  configDir: string
  tmpDir: string
  workspaces: string
}

/** A page of sessions: those after `after`, in the order of their keys. */
export interface SessionPage {
  tenant?: string
  after?: { tenant: string; key: string }
  limit: number
}

/** Where sessions outlive processes and hosts. What `put` and `remove` have resolved for is durable. */
export interface Store {
  get(tenant: string, key: string): Promise<SessionRecord | undefined>
  /** The session whose conversation has this SDK id. */
  findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined>
  put(record: SessionRecord): Promise<void>
  /** Notes that a session was used; may reach the disk later than it resolves. Unknown sessions are ignored. */
  touch(record: Pick<SessionRecord, 'tenant' | 'key' | 'uid' | 'turns' | 'lastUsedAt'>): Promise<void>
  remove(tenant: string, key: string): Promise<void>
  list(page: SessionPage): Promise<SessionRecord[]>
  count(): Promise<number>
  close(): Promise<void>
}
