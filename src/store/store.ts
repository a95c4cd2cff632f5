import type { SessionStore } from '../driver/driver.ts'
import type { StoreErrorCode } from '../errors.ts'
import type { Problems } from '../files/problem.ts'
import type { ApiStore } from './api-store.ts'

/** Tokens, and their cost by the CLI's own estimate. */
export interface Usage {
  /** Without tokens read from or written to the cache. */
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  cacheWriteTokens: number
  /** Searches of the web that the model API has made. Undefined: none. */
  webSearches?: number | undefined
  costUsd: number
  /** True if a process was lost before it reported everything: that part is an estimate from its answers. */
  estimated: boolean
}

/** What a session has used, and from where its next process counts on. */
export interface UsageRecord {
  total: Usage
  /** The running total of its conversation, as a process reported it last. */
  reported: Usage
  /** The running total that the CLI has saved with the conversation. It is `reported` unless a process was killed. */
  saved: Usage
  /** What was estimated of processes that did not report it, since `reported`. */
  estimated?: Usage | undefined
  /** When something was added last, in milliseconds since the epoch; undefined in records of earlier releases. */
  notedAt?: number | undefined
  /** How long its turns have run, less the time in which they waited for answers, in milliseconds. Undefined: not at all. */
  activeMs?: number | undefined
}

/** A session by its names, in events and for agents. */
export interface SessionRef {
  tenant: string
  key: string
  agent: string
}

/** A session's durable identity. Its key is the caller's; everything else is the pool's. */
export interface SessionRecord {
  tenant: string
  key: string
  /** Distinguishes a session from a later one under the same key. */
  uid: string
  agent: string
  /** Where its processes run; undefined until its first, unless the caller chose it. */
  cwd: string | undefined
  /** True when the pool made `cwd` and removes it with the session. */
  ownsCwd: boolean
  /** The SDK's id of the conversation; undefined until it has one. */
  sdkSessionId: string | undefined
  /** True once a process received a prompt of this conversation: from then on it is resumed, never started again. */
  begun: boolean
  /** Finished turns. */
  turns: number
  /** Undefined until something was used. */
  usage: UsageRecord | undefined
  /** Milliseconds since the epoch. */
  createdAt: number
  lastUsedAt: number
}

/** A session as it is now. Times are milliseconds since the epoch. */
export interface SessionInfo {
  tenant: string
  key: string
  agent: string
  /** Undefined until its first process, unless the caller chose it. */
  cwd: string | undefined
  /** The SDK's id of the conversation; undefined until its first process. */
  sdkSessionId: string | undefined
  /** `hibernated`: no process; the next turn resumes. */
  state: 'hibernated' | 'starting' | 'idle' | 'busy'
  turns: number
  /** Its usage since it was created, over all its processes and hosts. A fork starts at zero. */
  usage: Usage
  /**
   * The running time of its turns, without the time that they waited for answers, in milliseconds. Includes the running
   * turn. Undefined before the first turn, and if the pool does not store events.
   */
  activeMs: number | undefined
  /** What its turn does now. Left out while no turn runs. */
  phase?: TurnPhase
  createdAt: number
  lastUsedAt: number
}

/** What a turn does or waits for. docs/observability.md says what each means. */
export type TurnPhaseName = 'queued' | 'starting' | 'prompt' | 'model' | 'tool' | 'permission' | 'reader' | 'saving'

/** The phase that a turn is in. */
export interface TurnPhase {
  name: TurnPhaseName
  /** The tool that runs or that a permission is asked for; why the turn is queued; what else the phase is about. */
  detail?: string
  /** Since when the turn is in this phase, in milliseconds since the epoch. */
  since: number
}

/** Milliseconds that a turn has spent in each phase. */
export type PhaseTimes = Record<TurnPhaseName, number>

/** Tokens by kind. `input` is without what the cache was read and written for. */
export type TokensByKind = Record<'input' | 'output' | 'cache_read' | 'cache_write', number>

/** When a part of a turn began, in milliseconds since `send()`, and how long it took. */
interface StepTimes {
  startMs: number
  durationMs: number
}

/** A time that a turn spent in one phase. */
export interface PhaseStep extends StepTimes {
  type: 'phase'
  name: TurnPhaseName
  detail?: string
}

/** One request to the model. A request that is repeated after a failure is another one. Those of subagents are left out. */
export interface ModelStep extends StepTimes {
  type: 'model'
  /** Undefined if no answer came. */
  model: string | undefined
  /** Until the first piece of the answer, in milliseconds; undefined if the answer did not come in pieces. */
  firstTokenMs: number | undefined
  tokens: TokensByKind
  failed: boolean
}

/** One call of a tool, from the model's answer that has it to its result. */
export interface ToolStep extends StepTimes {
  type: 'tool'
  name: string
  /** The id of the call, as in the message that has it. */
  id: string
  /** True also for a call without a result. */
  failed: boolean
}

/** One part of what a turn did. Steps of different types overlap; those of type `phase` follow each other without a gap. */
export type TurnStep = PhaseStep | ModelStep | ToolStep

/** The directories of one tenant's processes alone. */
export interface TenantPlaces {
  home: string
  configDir: string
  tmpDir: string
  workspaces: string
  /** Files that name the conversations which sessions have left behind. */
  earlier: string
  /** The user who owns them, and as whom the processes run. Undefined: the host's. */
  owner?: number
}

/** What a look at the disk of a data directory found. */
export interface DiskState {
  /** Undefined where the system does not say. */
  freeBytes: number | undefined
  /** Why nothing can be kept there; undefined: something can. */
  trouble: StoreErrorCode | undefined
}

/** Where the files of tenants are. */
export interface Places {
  /** A tenant's places, whether they are there or not. */
  placesOf(tenant: string): TenantPlaces
  /** A tenant's places, made if need be. Rejects with StoreError, or FilesError where the tenant has put something else there. */
  makePlaces(tenant: string): Promise<TenantPlaces>
}

/** The store's copies of what the CLI writes of conversations. */
export interface TranscriptStores {
  /** Whether they are made. */
  readonly copied: boolean
  /** `ownership`: of the session that has the conversation; undefined if none has it. */
  of(tenant: string, ownership?: () => SessionOwnership | undefined): SessionStore
  /** Gives those of a conversation to this project. */
  move(tenant: string, sdkSessionId: string, project: string, ownership: SessionOwnership | undefined): Promise<void>
}

/** The files that a pool owns beside its store. */
export interface PoolFiles extends Places {
  /** Bytes of all files of a tenant; 0 where there are none. What cannot be counted is noted. */
  sizeOf(tenant: string, problems: Problems): Promise<number>
  /** Removes all directories of a tenant. What stays is noted. */
  removeTenant(tenant: string, problems: Problems): Promise<void>
  /**
   * Removes the directories of tenants that are not `known` and were last used before that time, in milliseconds since the
   * epoch, or only counts them in a dry run; how many that is. What stays is noted.
   */
  removeUnknownTenants(
    known: ReadonlySet<string>,
    options: { before: number; dryRun: boolean; problems: Problems },
  ): Promise<number>
  /** Copies the files of all tenants as they are now into this new directory, which stands for the data directory. What stays behind is noted. */
  copyFiles(path: string, problems: Problems): Promise<void>
  /** Whether something can be kept on their disk, or on that of a tenant. `thorough` writes a file to find out. */
  checkDisk(how: { thorough: boolean; tenant?: string }): Promise<DiskState>
  /** Where a copy has its store. */
  storeFileIn(path: string): string
}

/** A page of sessions: those after `after`, which need not exist any more. */
export interface SessionPage {
  tenant?: string
  agent?: string
  /** By tenant and key, the default, or by the time of creation. */
  order?: 'key' | 'created'
  /** From the last to the first. */
  descending?: boolean
  after?: Pick<SessionRecord, 'tenant' | 'key'> & Partial<Pick<SessionRecord, 'createdAt'>>
  limit: number
}

/** One event of a session. */
export interface StoredEvent {
  /** From 1, without gaps. Given by the one host that owns the session. */
  number: number
  id: string
  type: string
  /** Milliseconds since the epoch. */
  at: number
  /** All of it, as JSON. */
  json: string
}

/**
 * Which events of a session: those with numbers between the two, both exclusive, from the first or from the last. A page ends
 * with the event that makes it as large as `maxBytes`, so only an empty page says that there are no more.
 */
export interface EventRange {
  after?: number
  before?: number
  types?: readonly string[]
  descending?: boolean
  limit: number
  /** Bytes of JSON. Default 1 MiB. */
  maxBytes?: number
}

/** What a session's events amount to. `first` and `last` are numbers, 0 if there are none. */
export interface EventTotals {
  first: number
  last: number
  /** Bytes of JSON. */
  size: number
}

/** One transcript: that of a conversation, or of one of its subagents, which `subpath` names. */
export interface TranscriptKey {
  tenant: string
  /** The SDK's name for the conversation's cwd. */
  project: string
  sdkSessionId: string
  subpath?: string | undefined
}

/** One entry of a transcript. */
export interface TranscriptEntry {
  /** Unique in a transcript: a repeated one is ignored. Without one, an entry is always added. */
  uuid?: string | undefined
  /** All of it, as JSON. */
  json: string
}

/** When a conversation's main transcript was last written, in milliseconds since the epoch. */
export interface TranscriptInfo {
  sdkSessionId: string
  writtenAt: number
}

/** The right of one host to write one session. Only the claim with the highest fence of a session is valid. */
export interface SessionClaim {
  /** The session's. */
  uid: string
  /** The host's id. */
  owner: string
  /** From 1. Each claim of the session raises it. */
  fence: number
}

/** A claim, and the session as its last owner left it. */
export interface ClaimedSession {
  claim: SessionClaim
  record: SessionRecord
  /** The number of its last event, 0 if there is none. */
  lastEvent: number
  /** Its last owner has left it in a turn, or with prompts that have not begun. Default: false, where hosts are told at their start. */
  openTurn?: boolean
}

/** What a host tells the others of itself. */
export interface HostReport {
  /** `draining`: it takes no session any more. */
  state: 'ready' | 'draining'
  /** Turns that run, and that wait for a place. */
  running: number
  waiting: number
  /** Turns that it could take now. */
  free: number
}

/** A host of a store that many hosts share. */
export interface HostInfo extends HostReport {
  /** Of this run of the host: no other run ever has it. */
  id: string
  /** Where it is: the next run at this place takes over from it. */
  place: string
  /** The release that it runs. */
  version: string
  /** Where the other hosts reach it, `host:port`. Undefined: they do not. */
  address?: string | undefined
  /** How long ago it was heard of last, in milliseconds. */
  silentMs: number
}

/** What a host learns with a beat. */
export interface Beat {
  /** False: the others hold this host for gone, which is final. */
  isMember: boolean
  /** The hosts that are not gone, this one included. */
  hosts: HostInfo[]
  /** The time of the store, in milliseconds since the epoch. Default: that of the host. */
  now?: number
  /** A session is in a turn, and no host owns it: one that has ended or was given back. Default: false. */
  isLeft?: boolean
}

/** What a host says of itself when it joins. */
export interface HostFacts {
  /** The release that it runs. */
  version: string
  /** How long it is a member without a beat. */
  ttlMs: number
  /** Where the other hosts reach it, `host:port`. */
  address?: string | undefined
  /** The definitions of its agents by name, as hashes. */
  agents?: Readonly<Record<string, string>>
}

/** The host that a session belongs to now. */
export interface HostOfSession extends Pick<HostInfo, 'id' | 'place' | 'address'> {
  /** False: no host owns the session, but this one has its agent in the form that the session had last. */
  owns: boolean
}

/**
 * The hosts of a store that many share. A host is a member as long as its beats come. One that is silent for its time to live is gone:
 * the others may take its sessions.
 */
export interface HostDirectory {
  /** Adds a host, and returns its id. The host that was at this place before is gone from then on. */
  join(place: string, facts: HostFacts): Promise<string>
  /** The agents of a host have other definitions now. */
  describe(id: string, agents: Readonly<Record<string, string>>): Promise<void>
  /**
   * The host that owns a session, if it is not gone. If none does, and the asking host may not claim it: one that may. Undefined: the
   * asking host may claim it, or there is no such session.
   */
  hostOf(tenant: string, key: string, asker: string): Promise<HostOfSession | undefined>
  /** How many sessions a tenant has at all hosts, counted up to `atMost`. */
  countSessions(tenant: string, atMost: number): Promise<number>
  /** A random secret that this store keeps for its hosts. */
  secret(): Promise<string>
  /** Is heard of. Declares silent hosts gone. Rejects at once if the store cannot be reached. */
  beat(id: string, report: HostReport): Promise<Beat>
  list(): Promise<HostInfo[]>
  /** Has a host drain, which learns of it with its next beat. False: there is no such host. */
  drain(id: string): Promise<boolean>
  /**
   * Gives a job to this host for a time, in milliseconds. False: another host has it that is there. A host that has it already keeps
   * it. It is free when its time is over, or its host is gone.
   */
  takeJob(name: string, id: string, forMs: number): Promise<boolean>
  /** Removes what is known of hosts that are gone for a day, and frees their sessions. */
  forgetGone(): Promise<void>
}

/** This host among those of its store. */
export interface HostMember {
  /** Changes when the host returns after the others had declared it dead. */
  readonly id: string
  /** False: the others may hold this host for gone by now, so it must start nothing. */
  readonly isValid: boolean
  /** Resolves when this host may start work. Rejects with StoreError if that takes too long. */
  valid(): Promise<void>
  /** A name for people of the host with this id. */
  nameOf(id: string): string
}

/** How much of the model may be used, in all or in each period. At least one of the two is given. */
export interface Budget {
  costUsd?: number
  tokens?: number
  /** It begins anew with each day or month, as UTC has them. */
  per?: 'day' | 'month'
}

/** Whose use of the model is counted. `tenant` is empty for an agent, which all tenants share. */
export interface BudgetAccount {
  scope: 'session' | 'agent' | 'tenant'
  tenant: string
  name: string
}

/** What was used of the model in a period, `2026-11` or `2026-11-29`; in one that never ends, an empty text. */
export interface Spending {
  period: string
  tokens: number
  costUsd: number
}

/** This host's claim of a session, for what writes the session. */
export interface SessionOwnership {
  /** False until the store knows the session. */
  readonly isStored: boolean
  /** The claim, while this host has it. */
  readonly held: Pick<ClaimedSession, 'claim'> | undefined
  /** True before this host has claimed the session, and once it has given it back. */
  readonly isReleased: boolean
  /** Claims the session, unless this host has it. Rejects with FencedError while another host owns it, and with StoreError. */
  take(): Promise<Pick<ClaimedSession, 'claim' | 'lastEvent'>>
  /** Does the work with the claim. Rejects as the work does: after a FencedError the session is another host's. */
  write<T>(work: (claim: SessionClaim) => Promise<T>): Promise<T>
}

/**
 * Where sessions outlive processes and hosts. What a write has resolved for survives the death of this process, and after
 * `flush()` that of the machine. Writes take effect in the order of their calls, each as a whole or not at all. What fails is
 * a StoreError, and has changed nothing.
 *
 * A session has at most one owner, the host that claimed it last. Each write of a session carries the owner's claim. The
 * store checks it in the same step, and refuses any other claim than the last with a FencedError. Reads need no claim.
 */
export interface Store {
  /**
   * Adds a host, and returns its id, which no other host ever gets. The host that was at this place before is gone from
   * then on.
   */
  register(place: string): Promise<string>
  /** The hosts that share this store; undefined if it has one host at a time. */
  readonly hosts?: HostDirectory
  /** What servers keep beside the sessions; undefined if each of them keeps it by itself. */
  readonly api?: ApiStore
  /** Adds a session with its first claim. Undefined: its key is taken, and nothing was added. */
  create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined>
  /**
   * Claims a session that no host owns, or whose owner is gone or is this host: that ends the claim before it. Rejects with
   * FencedError if another host owns it or this one is gone, and with StoreError if it is not there.
   */
  claim(uid: string, owner: string): Promise<ClaimedSession>
  /** Gives a session back: no host owns it then. A claim that is not valid any more is ignored. */
  release(claim: SessionClaim): Promise<void>
  /** Claims sessions with a running turn, at most `limit`, whose owner is gone or that have none: their host died in the turn. */
  adopt(owner: string, limit: number): Promise<ClaimedSession[]>

  get(tenant: string, key: string): Promise<SessionRecord | undefined>
  /** The session with this SDK id. */
  findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined>
  /** Replaces the record, except tenant, key and uid. */
  put(record: SessionRecord, claim: SessionClaim): Promise<void>
  /** Notes that a session was used. One that is not there is ignored. */
  touch(record: Pick<SessionRecord, 'turns' | 'usage' | 'lastUsedAt'>, claim: SessionClaim): Promise<void>
  /** Removes the session with its events and the transcripts of its conversation. One that is not there is ignored. */
  remove(claim: SessionClaim): Promise<void>
  list(page: SessionPage): Promise<SessionRecord[]>

  /**
   * Adds events. One whose number is taken replaces that event if it has the same id, else nothing is added. So is a gap
   * refused, and a session that is not there. `turn` notes whether one is under way now.
   */
  appendEvents(claim: SessionClaim, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void>
  readEvents(uid: string, range: EventRange): Promise<StoredEvent[]>
  eventTotals(uid: string): Promise<EventTotals>
  /** Removes the events before this number. The last one always stays, so that numbers go on. */
  trimEvents(claim: SessionClaim, before: number): Promise<void>

  /** `claim`: of the session that has this conversation. Without one the entries are refused while a host owns the session. */
  appendTranscript(
    key: TranscriptKey,
    entries: readonly TranscriptEntry[],
    at: number,
    claim?: SessionClaim,
  ): Promise<void>
  /** The JSON of its entries in order; undefined when nothing was ever appended. */
  loadTranscript(key: TranscriptKey): Promise<string[] | undefined>
  /** The conversations of a project that have a main transcript. */
  listTranscripts(tenant: string, project: string): Promise<TranscriptInfo[]>
  /** The subpaths of a conversation that have a transcript. */
  listSubpaths(key: TranscriptKey): Promise<string[]>
  /** Bytes of JSON of a conversation's transcripts, those of its subagents included. */
  transcriptSize(tenant: string, sdkSessionId: string): Promise<number>
  /** Conversations with transcripts that no session has, and to which nothing was added since `before`. */
  leftoverTranscripts(of: { tenant?: string; before?: number; limit: number }): Promise<TranscriptKey[]>
  /** Gives the transcripts of a conversation to this project, from whichever had them. `claim` as for `appendTranscript()`. */
  moveTranscripts(tenant: string, sdkSessionId: string, project: string, claim?: SessionClaim): Promise<void>
  /** Removes a transcript; without a subpath, those of the subagents too. `claim` as for `appendTranscript()`. */
  removeTranscript(key: TranscriptKey, claim?: SessionClaim): Promise<void>

  /** What was used of an account in its last period, and the budget that was set for it. That of a session goes with the session. */
  readAccount(account: BudgetAccount): Promise<{ spent: Spending | undefined; budget: Budget | undefined }>
  /** Adds to what was used. Another period than the last one begins with this. A session that is not there is ignored. */
  spend(account: BudgetAccount, spending: Spending): Promise<void>
  /** Sets the budget of an account, or takes it away. What was used stays. */
  setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<void>

  /** Resolves when all writes that have resolved before are on the disk, or wherever else they outlast a power cut. */
  flush(): Promise<void>
  /** The host is about to end: what cannot be done within seconds fails. */
  hurry?(): void
  /** Writes a copy as of now to a new file while work goes on. A store without it is backed up by its own means. */
  backup?(path: string): Promise<void>
  close(): Promise<void>
}
