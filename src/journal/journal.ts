import { calendarOf } from '../calendar.ts'
import { formatWall } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { EventRange, SessionClaim, SessionOwnership, Store } from '../store/store.ts'
import type { EventPreview, NewSessionEvent, SessionEvent } from './session-event.ts'
import { FencedError } from '../errors.ts'
import { idle, newEventId, sessionError } from './session-event.ts'

/** An event with its number: 1 for the first of its session, without gaps. */
export interface NumberedEvent {
  number: number
  event: SessionEvent
}

/** A follower of the events of a session. */
export interface JournalListener {
  /** There is more to read. */
  added(): void
  /** Something that is not kept; it belongs after the event of that number. */
  preview(after: number, event: EventPreview): void
  /** There will be no more. */
  ended(error: Error): void
}

/** What the events say of a turn whose host died. */
const HOST_DIED =
  'the host ended during this turn; what the agent has done is done, its answer may be missing; send a message to go on'

/** The last of these tell whether a turn was under way. */
const MARKS = ['user.message', 'session.status_running', 'session.status_idle']

/** More than can wait: the turn that runs and those in its queue. */
const MARKS_READ = 40

/** Messages have up to 32 MB each, and a start looks at many sessions. Those beyond keep `processed_at: null`. */
const MARKS_BYTES = 64 * 2 ** 20

/** How long an event without a waiting caller may wait for others: a transaction costs more than the events in it. */
const GATHER_MS = 50

/** Beyond so many characters nothing waits: a message may have megabytes. */
const MAX_GATHERED = 128 * 1024

interface Entry {
  /** What has one already replaces the event of that number. */
  number: number | undefined
  event: SessionEvent
  json: string
}

interface Addition {
  events: Entry[]
  turn: 'open' | 'closed' | undefined
  done: (added: NumberedEvent[]) => void
  failed: (error: Error) => void
}

/** The events of one session, as its one owner adds to them. */
export class Journal {
  readonly #uid: string
  readonly #store: Store
  readonly #ownership: SessionOwnership
  readonly #clock: Clock
  readonly #onIdle: () => void
  readonly #onUnbegun: ((prompts: readonly NumberedEvent[]) => void) | undefined
  readonly #listeners = new Set<JournalListener>()
  #additions: Addition[] = []
  /** Characters of JSON in them. */
  #gathered = 0
  #loading: Promise<void> | undefined
  /** One at a time: what is read twice would be handed over twice. */
  #claiming: Promise<void> | undefined
  /** The claim with which it was loaded or written last. */
  #claim: SessionClaim | undefined
  #writing = false
  /** True while an event is unwritten that a caller waits for. */
  #urgent = false
  #gathering: CancelTimer | undefined
  /** The last number that is kept. */
  #last = 0
  /** New events that are not. */
  #ahead = 0
  /** The last number that readers may see: what a power cut could take away is not shown, so that no number comes twice. */
  #shown = 0
  /** The events that were shown last together: most readers want these, and need not go to the store. */
  #newest: NumberedEvent[] = []
  /** Events that followers wait for: stored, and being flushed to the disk. */
  #unshown: NumberedEvent[] = []
  #showing: Promise<void> | undefined
  /** The end of a turn that is still to be written: its host died, or the store refused it. */
  #owed: Entry[] = []
  /** Prompts of an earlier owner that have not begun. */
  #unbegun: NumberedEvent[] = []
  #ended: Error | undefined
  /** Prompts that were acknowledged and have not begun. */
  waiting = 0
  /** Turns that have begun: one at most. */
  running = 0

  /** `onUnbegun` gets prompts that an earlier owner has stored and not begun, once this host owns the session. Without it they end. */
  constructor(
    uid: string,
    context: {
      store: Store
      ownership: SessionOwnership
      clock: Clock
      onIdle: () => void
      onUnbegun?: ((prompts: readonly NumberedEvent[]) => void) | undefined
    },
  ) {
    this.#uid = uid
    this.#store = context.store
    this.#ownership = context.ownership
    this.#clock = context.clock
    this.#onIdle = context.onIdle
    this.#onUnbegun = context.onUnbegun
  }

  /** True while an event is unwritten, or a follower is there. */
  get busy(): boolean {
    return this.#writing || this.#additions.length > 0 || this.#listeners.size > 0
  }

  get isFollowed(): boolean {
    return this.#listeners.size > 0
  }

  /** Now, as events tell it. */
  get time(): string {
    return formatWall(this.#clock.wall())
  }

  /** Monotonic milliseconds. */
  get now(): number {
    return this.#clock.now()
  }

  /** Resolves after this time. */
  elapsed(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(ms, resolve))
  }

  /** What becomes of the session when what is added now has ended one of its turns. */
  get turnAfter(): 'closed' | undefined {
    return this.waiting + this.running === 0 ? 'closed' : undefined
  }

  /** Adds events in the order of the calls; resolves when they are kept. Rejects with StoreError, and has added none then. */
  append(events: readonly NewSessionEvent[], turn?: 'open' | 'closed'): Promise<NumberedEvent[]> {
    const added = this.gather(events, turn)
    this.#hurry()
    return added
  }

  /** The same for an event without a waiting caller: it is written with others, 50 ms later at most. */
  gather(events: readonly NewSessionEvent[], turn?: 'open' | 'closed'): Promise<NumberedEvent[]> {
    this.#ahead += events.length
    return this.#add(this.#complete(events), turn)
  }

  /** Replaces an event by its later form. Followers that have read it are not told again. */
  async replace(event: NumberedEvent): Promise<void> {
    const replaced = this.#add([entryOf(event.event, event.number)], undefined)
    this.#hurry()
    await replaced
  }

  /** Tells the followers, and stores nothing. */
  preview(events: readonly EventPreview[]): void {
    const after = this.#last + this.#ahead
    if (this.#listeners.size === 0) return
    for (const event of events) for (const listener of this.#listeners) listener.preview(after, event)
    // They are not shown before what comes before them.
    if (this.#additions.length > 0) this.#hurry()
  }

  /** Events after this number, where that takes no look into the store: they came last, or there are none yet. */
  newest(after: number): NumberedEvent[] | undefined {
    if (after >= this.#shown) return []
    const first = this.#newest[0]?.number ?? Infinity
    return after + 1 >= first ? this.#newest.slice(after + 1 - first) : undefined
  }

  /** A page of what is kept by now, from either end, once that may be shown. */
  async page(range: EventRange): Promise<NumberedEvent[]> {
    const before = Math.min(range.before ?? Infinity, this.#last + 1)
    await this.#flushed()
    const stored = await this.#store.readEvents(this.#uid, { ...range, before })
    return stored.map(numbered)
  }

  follow(listener: JournalListener): void {
    this.#listeners.add(listener)
    this.#showToFollowers()
    if (this.#ended !== undefined) listener.ended(this.#ended)
  }

  unfollow(listener: JournalListener): void {
    if (this.#listeners.delete(listener)) this.#tellIfIdle()
  }

  /**
   * Reads where the events end. Ends a turn that an earlier host has left unfinished, and hands over the prompts that it has not begun: those
   * of a session that runs elsewhere go on there.
   */
  async ready(): Promise<void> {
    await this.#load()
    if (this.#owed.length === 0 && this.#unbegun.length === 0) return
    await this.append([]).catch((error: unknown) => {
      if (!(error instanceof FencedError)) throw error
    })
  }

  /** Claims the session, ends a turn that its last owner has left unfinished, and hands over the prompts that have not begun. */
  async takeOver(): Promise<void> {
    await this.#loadOwned()
    this.#handOver()
    await this.append([], this.turnAfter)
  }

  /** Ends a prompt that an earlier host has stored and that cannot run, and says why. Rejects with StoreError. */
  async endPrompt({ number, event }: NumberedEvent, why: string): Promise<void> {
    const end = [sessionError('unknown_error', why, 'exhausted'), idle({ type: 'retries_exhausted' })]
    const processed = entryOf({ ...event, processed_at: this.time } as SessionEvent, number)
    this.#ahead += end.length
    const ended = this.#add([processed, ...this.#complete(end)], this.turnAfter)
    this.#hurry()
    await ended
  }

  /** Resolves when all that is kept survives the machine's end, too. Rejects with StoreError. */
  flush(): Promise<void> {
    return this.#store.flush()
  }

  /** Resolves when nothing that was added before is left to write or to show. */
  async written(): Promise<void> {
    if (this.#writing || this.#additions.length > 0) await this.append([]).catch(() => undefined)
    await this.#showing
  }

  /** Tells the followers that this is the end. */
  end(error: Error): void {
    this.#ended = error
    for (const listener of this.#listeners) listener.ended(error)
  }

  #complete(events: readonly NewSessionEvent[]): Entry[] {
    const { time } = this
    return events.map((event) =>
      entryOf({ processed_at: time, ...event, id: event.id ?? newEventId() } as SessionEvent),
    )
  }

  #load(): Promise<void> {
    this.#loading ??= this.#readEnd().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  #loadOwned(): Promise<void> {
    const claim = this.#ownership.held?.claim
    if (claim !== undefined && claim === this.#claim) return this.#load()
    this.#claiming ??= this.#claimAndLoad().finally(() => {
      this.#claiming = undefined
    })
    return this.#claiming
  }

  /** Claims the session, and reads again where its events end if another host has added some meanwhile. */
  async #claimAndLoad(): Promise<void> {
    const { claim, lastEvent } = await this.#ownership.take()
    if (claim !== this.#claim && this.#loading !== undefined) {
      await this.#loading.catch(() => undefined)
      if (lastEvent !== this.#last) {
        this.#loading = undefined
        this.#owed = []
        this.#unbegun = []
      }
    }
    this.#claim = claim
    await this.#load()
  }

  async #readEnd(): Promise<void> {
    const [newest] = await this.#store.readEvents(this.#uid, { descending: true, limit: 1 })
    if (newest === undefined) return
    const isFirst = this.#last === 0
    this.#last = newest.number
    if (isFirst) this.#shown = newest.number
    else this.#showToFollowers()
    const marks = await this.#store.readEvents(this.#uid, {
      types: MARKS,
      descending: true,
      limit: MARKS_READ,
      maxBytes: MARKS_BYTES,
    })
    const recent = marks.map(numbered)
    const prompts = marks.length < MARKS_READ ? recent : await this.#readPrompts()
    const unprocessed = prompts.filter(({ event }) => event.type === 'user.message' && event.processed_at === null)
    const waiting = new Set(unprocessed.map(({ number }) => number))
    const begun = recent.find(({ number }) => !waiting.has(number))
    // They were never handed to a process, so they can run.
    if (this.#onUnbegun !== undefined) this.#unbegun = unprocessed.toReversed()
    const ended = this.#onUnbegun === undefined ? unprocessed : []
    if (ended.length === 0 && !isUnderWay(begun?.event)) return
    const end = [sessionError('unknown_error', HOST_DIED, 'exhausted'), idle({ type: 'retries_exhausted' })]
    this.#owed = [
      ...ended.map(({ number, event }) => entryOf({ ...event, processed_at: this.time } as SessionEvent, number)),
      ...this.#complete(end),
    ]
  }

  /** A turn that asks much has more marks than are read, and prompts may wait before them. */
  async #readPrompts(): Promise<NumberedEvent[]> {
    const range = { types: ['user.message'], descending: true, limit: MARKS_READ, maxBytes: MARKS_BYTES }
    return (await this.#store.readEvents(this.#uid, range)).map(numbered)
  }

  #handOver(): void {
    const prompts = this.#unbegun.splice(0)
    if (prompts.length > 0) this.#onUnbegun?.(prompts)
  }

  #add(events: Entry[], turn: Addition['turn']): Promise<NumberedEvent[]> {
    return new Promise((done, failed) => {
      this.#additions.push({ events, turn, done, failed })
      for (const { json } of events) this.#gathered += json.length
      if (this.#gathered > MAX_GATHERED) this.#hurry()
      else this.#gathering ??= this.#clock.after(GATHER_MS, () => this.#hurry(), { keepAlive: true })
    })
  }

  #hurry(): void {
    this.#urgent = true
    void this.#writeAll()
  }

  /** What gathers while one group goes to the disk is the next. */
  async #writeAll(): Promise<void> {
    if (this.#writing) return
    this.#writing = true
    while (this.#urgent) {
      // Events added in one go stay together.
      const loaded = await this.#loadOwned().then(
        () => undefined,
        (error: unknown) => error as Error,
      )
      const group = this.#additions
      this.#additions = []
      this.#gathered = 0
      this.#urgent = false
      this.#gathering?.()
      this.#gathering = undefined
      try {
        if (loaded !== undefined) throw loaded
        this.#handOver()
        const written = await this.#write(group)
        for (const [index, { done }] of group.entries()) done(written[index] ?? [])
      } catch (error) {
        this.#ahead -= newIn(group)
        const ending = group.findLast(({ turn }) => turn === 'closed')
        if (ending !== undefined && this.#owed.length === 0) this.#owed = ending.events
        for (const { failed } of group) failed(error as Error)
      }
    }
    this.#writing = false
    this.#tellIfIdle()
  }

  async #write(group: readonly Addition[]): Promise<NumberedEvent[][]> {
    const owed = this.#owed
    let last = this.#last
    const groups = [{ events: owed }, ...group].map(({ events }) =>
      events.map(({ number, ...entry }) => ({ ...entry, number: number ?? (last += 1) })),
    )
    const turn =
      group.findLast((addition) => addition.turn !== undefined)?.turn ?? (owed.length > 0 ? this.turnAfter : undefined)
    const at = calendarOf(this.#clock).latest
    const stored = groups.flat().map(({ number, event: { id, type }, json }) => ({ number, id, type, at, json }))
    await this.#ownership.write((claim) => this.#store.appendEvents(claim, stored, turn))
    this.#owed = []
    const added = groups.map((entries) => entries.map(({ number, event }) => ({ number, event })))
    const all = added.flat()
    for (const { number, event } of all.filter((entry) => entry.number <= this.#last)) this.#replaced(number, event)
    if (this.#listeners.size > 0) this.#unshown.push(...all.filter((entry) => entry.number > this.#last))
    this.#last = last
    this.#ahead -= newIn(group)
    this.#showToFollowers()
    return added.slice(1)
  }

  #replaced(number: number, event: SessionEvent): void {
    // A follower that has not seen it reads it from the store again.
    this.#newest = []
    for (const entry of this.#unshown) if (entry.number === number) entry.event = event
  }

  #showToFollowers(): void {
    if (this.#listeners.size > 0 && this.#shown < this.#last) this.#showing ??= this.#show()
  }

  async #show(): Promise<void> {
    while (this.#shown < this.#last) {
      const upTo = this.#last
      const count = this.#unshown.length
      await this.#flushed()
      const shown = this.#unshown.splice(0, count)
      this.#newest = shown.at(-1)?.number === upTo ? shown : []
      this.#shown = upTo
      for (const listener of this.#listeners) listener.added()
    }
    this.#showing = undefined
  }

  /** If the disk fails, waiting callers and readers are told. */
  async #flushed(): Promise<void> {
    await this.flush().catch(() => undefined)
  }

  #tellIfIdle(): void {
    if (!this.busy) this.#onIdle()
  }
}

const numbered = ({ number, json }: { number: number; json: string }): NumberedEvent => ({
  number,
  event: JSON.parse(json) as SessionEvent,
})

const entryOf = (event: SessionEvent, number?: number): Entry => ({ number, event, json: JSON.stringify(event) })

/** How many of these events have no number yet. */
const newIn = (group: readonly Addition[]): number =>
  group.reduce((sum, { events }) => sum + events.filter(({ number }) => number === undefined).length, 0)

/** Whether a turn goes on after this, the last of the marks. */
function isUnderWay(mark: SessionEvent | undefined): boolean {
  if (mark?.type === 'session.status_idle') return mark.stop_reason.type === 'requires_action'
  return mark !== undefined
}
