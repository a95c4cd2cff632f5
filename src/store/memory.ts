import { FencedError, StoreError } from '../errors.ts'
import { EVENTS_PAGE_BYTES, badAppend } from './events.ts'
import type {
  Budget,
  BudgetAccount,
  ClaimedSession,
  EventRange,
  EventTotals,
  SessionClaim,
  SessionPage,
  SessionRecord,
  Spending,
  Store,
  StoredEvent,
  TranscriptEntry,
  TranscriptInfo,
  TranscriptKey,
} from './store.ts'

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/** The order of databases. JavaScript's own is that of UTF-16, which puts an emoji before U+FF5E. */
const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

interface Held {
  record: SessionRecord
  events: StoredEvent[]
  open: boolean
  owner: string | undefined
  fence: number
}

interface HeldTranscript {
  key: TranscriptKey
  uuids: Set<string>
  entries: string[]
  writtenAt: number
}

/** A store that lasts as long as the process: for tests and for conversations without a follow-up. */
export class MemoryStore implements Store {
  readonly #sessions = new Map<string, Held>()
  readonly #transcripts = new Map<string, HeldTranscript>()
  /** The host at each place. */
  readonly #hosts = new Map<string, string>()
  #lastHost = 0
  readonly #accounts = new Map<string, Awaited<ReturnType<Store['readAccount']>>>()

  async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    return copy(this.#sessions.get(idOf(tenant, key)))
  }

  async findBySdkSessionId(sdkSessionId: string): Promise<SessionRecord | undefined> {
    return copy(this.#all.find(({ record }) => record.sdkSessionId === sdkSessionId))
  }

  async register(place: string): Promise<string> {
    const id = String((this.#lastHost += 1))
    this.#hosts.set(place, id)
    return id
  }

  async create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined> {
    const id = idOf(record.tenant, record.key)
    if (this.#sessions.has(id)) return undefined
    this.#sessions.set(id, { record: structuredClone(record), events: [], open: false, owner, fence: 1 })
    return { uid: record.uid, owner, fence: 1 }
  }

  async claim(uid: string, owner: string): Promise<ClaimedSession> {
    const held = this.#held(uid)
    if (held === undefined) throw notThere(uid)
    const isFree = held.owner === owner || !this.#isThere(held.owner)
    if (!isFree || !this.#isThere(owner)) throw new FencedError(uid, held.owner)
    return claimed(held, owner)
  }

  async release(claim: SessionClaim): Promise<void> {
    const held = this.#held(claim.uid)
    if (held !== undefined && isValid(held, claim)) held.owner = undefined
  }

  async adopt(owner: string, limit: number): Promise<ClaimedSession[]> {
    if (!this.#isThere(owner)) return []
    return this.#all
      .filter((held) => held.open && !this.#isThere(held.owner))
      .slice(0, limit)
      .map((held) => claimed(held, owner))
  }

  async put(record: SessionRecord, claim: SessionClaim): Promise<void> {
    const held = this.#owned(claim)
    if (held === undefined) throw notThere(claim.uid)
    const { tenant, key, uid } = held.record
    held.record = { ...structuredClone(record), tenant, key, uid }
  }

  async touch({ turns, usage, lastUsedAt }: Parameters<Store['touch']>[0], claim: SessionClaim): Promise<void> {
    const held = this.#owned(claim)
    if (held !== undefined) Object.assign(held.record, { turns, usage: structuredClone(usage), lastUsedAt })
  }

  async remove(claim: SessionClaim): Promise<void> {
    const held = this.#owned(claim)
    if (held === undefined) return
    const { tenant, key, sdkSessionId } = held.record
    this.#sessions.delete(idOf(tenant, key))
    this.#accounts.delete(accountId({ scope: 'session', tenant, name: key }))
    for (const [id, transcript] of this.#transcripts) {
      if (transcript.key.tenant === tenant && transcript.key.sdkSessionId === sdkSessionId) this.#transcripts.delete(id)
    }
  }

  async list({ tenant, agent, order, descending, after, limit }: SessionPage): Promise<SessionRecord[]> {
    const place = ({ createdAt = 0, ...record }: NonNullable<SessionPage['after']>): [number, string] => [
      order === 'created' ? createdAt : 0,
      idOf(record.tenant, record.key),
    ]
    const compare = (a: NonNullable<SessionPage['after']>, b: NonNullable<SessionPage['after']>): number => {
      const [[timeA, idA], [timeB, idB]] = [place(a), place(b)]
      return (descending === true ? -1 : 1) * (timeA - timeB || byCodePoint(idA, idB))
    }
    return this.#all
      .map(({ record }) => structuredClone(record))
      .filter(
        (record) => (tenant === undefined || record.tenant === tenant) && (agent ?? record.agent) === record.agent,
      )
      .filter((record) => after === undefined || compare(record, after) > 0)
      .toSorted(compare)
      .slice(0, limit)
  }

  async appendEvents(claim: SessionClaim, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void> {
    const { uid } = claim
    const held = this.#owned(claim)
    if (held === undefined) throw notThere(uid)
    const kept = new Map(held.events.map((event) => [event.number, event]))
    const bad = badAppend(events, held.events.at(-1)?.number ?? 0, (number) => kept.get(number)?.id)
    if (bad !== undefined) throw new StoreError(`session ${uid}: ${bad}`)
    for (const event of events) kept.set(event.number, { ...event })
    held.events = [...kept.values()]
    if (turn !== undefined) held.open = turn === 'open'
  }

  async readEvents(uid: string, range: EventRange): Promise<StoredEvent[]> {
    const { after = 0, before = Infinity, types, descending, limit, maxBytes = EVENTS_PAGE_BYTES } = range
    const events = (this.#held(uid)?.events ?? []).filter(
      ({ number, type }) => number > after && number < before && (types?.includes(type) ?? true),
    )
    const page: StoredEvent[] = []
    let bytes = 0
    for (const event of descending === true ? events.toReversed() : events) {
      if (page.length >= limit || bytes >= maxBytes) break
      page.push({ ...event })
      bytes += Buffer.byteLength(event.json)
    }
    return page
  }

  async eventTotals(uid: string): Promise<EventTotals> {
    const events = this.#held(uid)?.events ?? []
    const size = events.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0)
    return { first: events[0]?.number ?? 0, last: events.at(-1)?.number ?? 0, size }
  }

  async trimEvents(claim: SessionClaim, before: number): Promise<void> {
    const held = this.#owned(claim)
    if (held !== undefined)
      held.events = held.events.filter((event, at, all) => event.number >= before || at === all.length - 1)
  }

  async appendTranscript(
    key: TranscriptKey,
    entries: readonly TranscriptEntry[],
    at: number,
    claim?: SessionClaim,
  ): Promise<void> {
    this.#checkTranscript(key, claim)
    const transcript = this.#transcripts.get(transcriptId(key)) ?? {
      key: { ...key },
      uuids: new Set(),
      entries: [],
      writtenAt: at,
    }
    transcript.writtenAt = at
    for (const { uuid, json } of entries) {
      if (uuid !== undefined && transcript.uuids.has(uuid)) continue
      if (uuid !== undefined) transcript.uuids.add(uuid)
      transcript.entries.push(json)
    }
    if (entries.length > 0) this.#transcripts.set(transcriptId(key), transcript)
  }

  async loadTranscript(key: TranscriptKey): Promise<string[] | undefined> {
    return this.#transcripts.get(transcriptId(key))?.entries.slice()
  }

  async listTranscripts(tenant: string, project: string): Promise<TranscriptInfo[]> {
    return [...this.#transcripts.values()]
      .filter(({ key }) => key.tenant === tenant && key.project === project && key.subpath === undefined)
      .map(({ key, writtenAt }) => ({ sdkSessionId: key.sdkSessionId, writtenAt }))
  }

  async listSubpaths(key: TranscriptKey): Promise<string[]> {
    return this.#transcriptsOf(key).flatMap(({ key: { subpath } }) => (subpath === undefined ? [] : [subpath]))
  }

  async transcriptSize(tenant: string, sdkSessionId: string): Promise<number> {
    return [...this.#transcripts.values()]
      .filter(({ key }) => key.tenant === tenant && key.sdkSessionId === sdkSessionId)
      .flatMap(({ entries }) => entries)
      .reduce((sum, json) => sum + Buffer.byteLength(json), 0)
  }

  async leftoverTranscripts(of: Parameters<Store['leftoverTranscripts']>[0]): Promise<TranscriptKey[]> {
    const { tenant, before = Infinity, limit } = of
    const had = new Set(this.#all.map(({ record }) => idOf(record.tenant, record.sdkSessionId ?? '')))
    const left = [...this.#transcripts.values()].filter(
      ({ key }) => key.tenant === (tenant ?? key.tenant) && !had.has(idOf(key.tenant, key.sdkSessionId)),
    )
    const conversations = Map.groupBy(left, ({ key }) => transcriptId({ ...key, subpath: undefined })).values()
    return [...conversations]
      .filter((transcripts) => transcripts.every(({ writtenAt }) => writtenAt < before))
      .flatMap(([first]) => (first === undefined ? [] : [first.key]))
      .map(({ subpath: _subagent, ...conversation }) => conversation)
      .slice(0, limit)
  }

  async moveTranscripts(tenant: string, sdkSessionId: string, project: string, claim?: SessionClaim): Promise<void> {
    this.#checkTranscript({ tenant, sdkSessionId }, claim)
    for (const [id, transcript] of this.#transcripts) {
      const { key } = transcript
      if (key.tenant !== tenant || key.sdkSessionId !== sdkSessionId || key.project === project) continue
      this.#transcripts.delete(id)
      const moved = { ...key, project }
      this.#transcripts.set(transcriptId(moved), { ...transcript, key: moved })
    }
  }

  async removeTranscript(key: TranscriptKey, claim?: SessionClaim): Promise<void> {
    this.#checkTranscript(key, claim)
    if (key.subpath !== undefined) this.#transcripts.delete(transcriptId(key))
    else for (const transcript of this.#transcriptsOf(key)) this.#transcripts.delete(transcriptId(transcript.key))
  }

  async readAccount(account: BudgetAccount): ReturnType<Store['readAccount']> {
    return structuredClone(this.#account(account))
  }

  async spend(account: BudgetAccount, { period, tokens, costUsd }: Spending): Promise<void> {
    // A session may have gone meanwhile: the next one of its name begins with nothing.
    if (account.scope === 'session' && !this.#sessions.has(idOf(account.tenant, account.name))) return
    const { spent, budget } = this.#account(account)
    const before = spent?.period === period ? spent : { tokens: 0, costUsd: 0 }
    const now = { period, tokens: before.tokens + tokens, costUsd: before.costUsd + costUsd }
    this.#accounts.set(accountId(account), { spent: now, budget })
  }

  async setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<void> {
    this.#accounts.set(accountId(account), { spent: this.#account(account).spent, budget: structuredClone(budget) })
  }

  async flush(): Promise<void> {
    // There is no safer place than this one.
  }

  async close(): Promise<void> {
    // Everything goes with the object.
  }

  #account(account: BudgetAccount): Awaited<ReturnType<Store['readAccount']>> {
    return this.#accounts.get(accountId(account)) ?? { spent: undefined, budget: undefined }
  }

  get #all(): Held[] {
    return [...this.#sessions.values()]
  }

  #held(uid: string): Held | undefined {
    return this.#all.find(({ record }) => record.uid === uid)
  }

  /** The session that this is the valid claim of; undefined if it is not there. Throws FencedError. */
  #owned(claim: SessionClaim): Held | undefined {
    const held = this.#held(claim.uid)
    if (held !== undefined && !isValid(held, claim)) throw new FencedError(claim.uid, held.owner)
    return held
  }

  /** Throws FencedError for a transcript of a session that another host owns. */
  #checkTranscript({ tenant, sdkSessionId }: Omit<TranscriptKey, 'project'>, claim: SessionClaim | undefined): void {
    if (claim !== undefined) return void this.#owned(claim)
    const owned = this.#all.find(
      ({ record, owner }) => record.tenant === tenant && record.sdkSessionId === sdkSessionId && owner !== undefined,
    )
    if (owned !== undefined) throw new FencedError(owned.record.uid, owned.owner)
  }

  #isThere(host: string | undefined): boolean {
    return [...this.#hosts.values()].some((id) => id === host)
  }

  #transcriptsOf({ tenant, project, sdkSessionId }: TranscriptKey): HeldTranscript[] {
    return [...this.#transcripts.values()].filter(
      ({ key }) => key.tenant === tenant && key.project === project && key.sdkSessionId === sdkSessionId,
    )
  }
}

const copy = (held: Held | undefined): SessionRecord | undefined =>
  held === undefined ? undefined : structuredClone(held.record)

const isValid = (held: Held, { owner, fence }: SessionClaim): boolean => held.owner === owner && held.fence === fence

function claimed(held: Held, owner: string): ClaimedSession {
  held.owner = owner
  held.fence += 1
  const { record, fence, events, open: openTurn } = held
  const claim = { uid: record.uid, owner, fence }
  return { claim, record: structuredClone(record), lastEvent: events.at(-1)?.number ?? 0, openTurn }
}

const notThere = (uid: string): StoreError => new StoreError(`session ${uid} is not in the store`)

const transcriptId = ({ tenant, project, sdkSessionId, subpath }: TranscriptKey): string =>
  JSON.stringify([tenant, project, sdkSessionId, subpath])

const accountId = ({ scope, tenant, name }: BudgetAccount): string => JSON.stringify([scope, tenant, name])
