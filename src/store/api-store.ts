/**
 * The port to what the server keeps beside the pool: resources of `/v1`, answers to requests that name themselves, and browser
 * tokens. Each method resolves when its work is durable, and rejects with StoreError, having changed nothing.
 */
export interface ApiStore {
  readonly resources: ResourceStore
  readonly answers: AnswerStore
  readonly tokens: TokenStore
  /** Removes all that a tenant has. */
  eraseTenant(tenant: string): Promise<void>
}

/** What the API keeps as resources. */
export type ResourceKind =
  | 'agent'
  | 'environment'
  | 'session'
  | 'file'
  | 'skill'
  | 'skill_version'
  | 'vault'
  | 'vault_credential'
  | 'webhook_endpoint'
  | 'webhook_session'
  | 'webhook_delivery'
  | 'memory_store'
  | 'memory_index'
  | 'memory_version'
  | 'memory_mount'

/** One resource of the API, in its newest version. Times are milliseconds since the epoch. */
export interface Resource {
  kind: ResourceKind
  tenant: string
  id: string
  version: number
  createdAt: number
  archivedAt: number | null
  /** The resource that it was made from, for lists: a session's agent. */
  parent: string | null
  /** JSON; its shape is its kind's. */
  body: string
}

/** A version of a resource. Its place in the list of versions is its number. */
export interface VersionRow {
  id: string
  createdAt: number
  body: string
}

/** How much one call reads: at least one row, no more than `limit`, and none beyond the row that reaches `maxSize`. */
export interface ReadBounds {
  limit: number
  /** Characters of bodies. */
  maxSize: number
}

/** Rows in the order that was asked for. */
export interface Rows<Row> {
  rows: Row[]
  /** True if the bounds cut them: there may be more behind the last one. */
  more: boolean
}

/** Which resources a list asks for, and from where on. */
export interface ResourceQuery extends ReadBounds {
  kind: ResourceKind
  tenant: string
  /** By time of creation, then by id, whose characters compare by their codes. */
  order: 'asc' | 'desc'
  /** Begins behind this one. */
  after?: { createdAt: number; id: string } | undefined
  includeArchived?: boolean
  parent?: string | undefined
  /** Bounds of `createdAt`, both included. */
  from?: number | undefined
  to?: number | undefined
}

/** Which versions of a resource a list asks for. */
export interface VersionQuery extends ReadBounds {
  kind: ResourceKind
  tenant: string
  id: string
  /** Those before this version. */
  before: number
}

/**
 * Where the API's resources are kept: agents with all their versions, environments, and what the API knows of a session beside
 * the pool.
 */
export interface ResourceStore {
  get(kind: ResourceKind, tenant: string, id: string): Promise<Resource | undefined>
  /** Adds a resource that is new. Of an agent, this version is kept until the agent is removed. */
  create(resource: Resource): Promise<void>
  /**
   * Changes a resource from what it was to what it is to be. False, and nothing has changed, if it is not as it was: another
   * request has changed or removed it. A new version of an agent is kept beside the earlier ones.
   */
  replace(before: Resource, after: Resource): Promise<boolean>
  /** The body of one version. */
  version(kind: ResourceKind, tenant: string, id: string, version: number): Promise<string | undefined>
  /** Newest first. */
  versions(query: VersionQuery): Promise<Rows<VersionRow>>
  list(query: ResourceQuery): Promise<Rows<Resource>>
  /** Tenants that have one of a kind which is not archived: by their names, at most `limit` behind `after`. */
  tenantsWith(kind: ResourceKind, page: { after?: string | undefined; limit: number }): Promise<string[]>
  /** How many a tenant has; of agents, with all their versions. */
  count(kind: ResourceKind, tenant: string): Promise<number>
  /** Bytes of all that a tenant has. */
  size(tenant: string): Promise<number>
  /** Removes a resource with all its versions, if it is there. */
  remove(kind: ResourceKind, tenant: string, id: string): Promise<void>
}

/** Which request it is: one that says the same of itself is the same, sent again. */
export interface RequestName {
  tenant: string
  method: string
  path: string
  /** As its client has named it. */
  key: string
}

/** An answer as it is given again. */
export interface KeptAnswer {
  status: number
  contentType: string
  /** Undefined: it was too large to keep. */
  body: string | undefined
}

/** A request as it was when it came first. */
export interface KeptRequest {
  bodyHash: string
  /** Undefined: it is being worked on, or its host ended meanwhile. */
  answer: KeptAnswer | undefined
  /** True while a host works on it that is there. */
  isWorkedOn: boolean
  /** From which the ids of its events are made, if it was begun with one. */
  seed?: string
}

/** Where the answers to requests are kept that may come again. */
export interface AnswerStore {
  /**
   * Notes a request of this time, in milliseconds since the epoch, before it is worked on. Gives what was noted of it
   * before, and then notes nothing. What came before `since` is forgotten, and of a tenant's requests the oldest beyond `max`.
   * `seed`: the request may be tried again, with events of the same ids.
   */
  begin(
    request: RequestName & { bodyHash: string; at: number; seed?: string },
    bounds: { since: number; max: number },
  ): Promise<KeptRequest | undefined>
  /** Keeps the answer, which goes with the session that it is about. */
  finish(request: RequestName, answer: KeptAnswer, session: string | undefined): Promise<void>
  /** Nothing has come of it: the next one of its name is the first again. */
  forget(request: RequestName): Promise<void>
  /** It is unknown what has come of it: who sends it again may take it up. Default: it counts as worked on by this host. */
  leave?(request: RequestName): Promise<void>
  /** Takes up a request that has a seed and whose host is gone. False: another host has taken it up. Default: false. */
  takeUp?(request: RequestName): Promise<boolean>
  /** Forgets what is about this session. */
  forgetSession(tenant: string, session: string): Promise<void>
}

/** A browser token. The token itself is not kept. */
export interface StoredToken {
  id: string
  /** Of the token, in hex. */
  sha256: string
  tenant: string
  /** Of the caller that made it. */
  name: string
  agents: readonly string[]
  sessions: readonly string[]
  /** Milliseconds since the epoch. */
  expiresAt: number
}

/** Where browser tokens are kept. `now`: milliseconds since the epoch; what expires by then is not there any more. */
export interface TokenStore {
  /** Adds a token. False, and nothing is added, if the tenant has `max` tokens that have not expired. */
  create(token: StoredToken, bounds: { now: number; max: number }): Promise<boolean>
  find(sha256: string, now: number): Promise<StoredToken | undefined>
  /** False if the tenant has no such token. */
  remove(tenant: string, id: string, now: number): Promise<boolean>
}
