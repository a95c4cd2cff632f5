import type { Agents } from '../agents/catalogue.ts'
import type { Clock } from '../clock.ts'
import type { ResumePoint, SDKMessage } from '../driver/driver.ts'
import { FencedError, SessionBusyError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { HostMember, SessionRecord, Store, SessionRef, SessionInfo } from '../store/store.ts'
import type { ClosedWorker, Worker, WorkerOwner } from '../worker/worker.ts'
import { Journal } from '../journal/journal.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import type { RunningTurn } from '../turns/running-turn.ts'
import { TurnJournal } from '../turns/turn-journal.ts'
import type { TurnJournalOptions } from '../turns/turn-journal.ts'
import { Unprompted } from '../turns/unprompted.ts'
import type { OnBusy, SendOptions } from '../turns/send.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import { LiveRecord } from './live-record.ts'
import { Ownership } from './ownership.ts'
import type { Returns } from './ownership.ts'
import { fromOwner } from './peers.ts'
import type { SessionPeers } from './peers.ts'
import type { SessionFiles } from './session-files.ts'
import { infoOf } from './session-info.ts'
import type { TranscriptCopies } from './transcript-copies.ts'
import { TurnQueue } from './turn-queue.ts'

/** How the first process of a conversation begins, where that is not plain. */
export interface Origin extends ResumePoint {
  /** The SDK's id of the conversation that it is a fork of. */
  of?: string
}

/** Hears what its process says outside of turns, and that it runs no more of them. */
export interface Follower {
  said(message: SDKMessage): void
  ended(error: Error): void
}

/** How a conversation is kept. */
export interface Keeping {
  /** No store knows it, and it is deleted at its end. */
  ephemeral: boolean
  /** The store knows it already. */
  isStored: boolean
  /** What is said in it becomes events. */
  events: boolean
}

/** What active sessions share. */
export interface SessionServices {
  readonly store: Store
  /** This host. */
  readonly member: HostMember
  readonly clock: Clock
  readonly emitter: PoolEmitter
  readonly agents: Agents
  readonly transcripts: TranscriptCopies
  readonly files: SessionFiles
  readonly ledger: UsageLedger
  /** Claims that could not be given back yet. */
  readonly returns: Returns
  /** The other hosts; undefined: there are none, or they are not to be asked. */
  readonly peers: SessionPeers | undefined
  /** Runs prompts that an earlier host has stored and not begun; undefined where they only end. */
  readonly resume: ((session: ActiveSession, prompts: readonly NumberedEvent[]) => void) | undefined
  /** No turn, reader or removal uses it at present. */
  onIdle(session: ActiveSession): void
}

/** A session while this host works on it: its record, its worker, and its turns one at a time. */
export class ActiveSession implements WorkerOwner {
  /** Its record, and what becomes of it. */
  readonly live: LiveRecord
  readonly #turns: TurnQueue
  #worker: Worker | undefined
  /** The start of the worker, shared by all callers that wait for it. */
  #opening: Promise<void> | undefined
  /** What its worker does for the pool itself, while no turn runs. */
  #compacting: RunningTurn | undefined
  #notices: string[] = []
  #origin: Origin | undefined
  readonly #followers = new Set<Follower>()
  #erasing: Promise<void> | undefined
  #gone: Error | undefined
  #losing: Promise<void> = Promise.resolve()
  #resetting: Promise<void> = Promise.resolve()
  #held = 0
  /** Who takes it over from a host that died goes on with what that host has left. */
  #isTakenOver = false
  /** Settles when what is stored of it beside its turns is stored. */
  #upkeep: Promise<unknown> = Promise.resolve()
  /** True for a conversation that is deleted at its end: no store knows it. */
  readonly ephemeral: boolean
  /** This host's claim of it; undefined if no store is to know it. */
  readonly ownership: Ownership | undefined
  /** Its events; undefined where none are kept. */
  readonly journal: Journal | undefined
  readonly #services: SessionServices
  readonly #unprompted: Unprompted | undefined

  constructor(record: SessionRecord, services: SessionServices, keeping: Keeping) {
    this.#services = services
    this.ephemeral = keeping.ephemeral
    const { store, clock, member, returns } = services
    const listener = {
      claimed: (found: SessionRecord, openTurn: boolean) => {
        this.live.refresh(found)
        if (openTurn && !this.#isTakenOver) this.#goOn()
      },
      lost: (error: FencedError) => this.#lose(error),
    }
    this.ownership = keeping.ephemeral
      ? undefined
      : new Ownership(record.uid, { store, member, returns, listener }, keeping)
    this.live = new LiveRecord(record, services, this.ownership)
    this.#turns = new TurnQueue(record.key, {
      idle: () => services.onIdle(this),
      failed: (error) => this.#warn(`something failed after a turn of session "${record.key}"`, error),
    })
    const onIdle = (): void => {
      if (this.quiet) services.onIdle(this)
    }
    const { ownership } = this
    this.journal =
      keeping.events && ownership !== undefined
        ? new Journal(record.uid, { store, clock, ownership, onIdle, onUnbegun: this.#onUnbegun })
        : undefined
    this.#unprompted = this.journal && this.#listener(this.journal)
  }

  get #onUnbegun(): ((prompts: readonly NumberedEvent[]) => void) | undefined {
    const { resume } = this.#services
    return resume && ((prompts) => resume(this, prompts))
  }

  #listener(journal: Journal): Unprompted {
    return new Unprompted({
      newRecord: () => this.#newRecord(journal),
      lastTurn: () => this.#turns.ended,
      confirm: async () => {
        if (this.#worker !== undefined) await this.#services.transcripts.confirm(this.#worker)
      },
      speaks: (speaks) => {
        this.#worker?.recordUnprompted(speaks)
        if (!speaks && this.#gone === undefined) void this.recordUsage()
      },
    })
  }

  get record(): Readonly<SessionRecord> {
    return this.live.now
  }

  /** Its process, from the start of that on. */
  get worker(): Worker | undefined {
    return this.#worker
  }

  /** Settles when its process is there, or has failed to start. Undefined while none is on its way. */
  get opening(): Promise<void> | undefined {
    return this.#opening
  }

  /** How its first process is to begin, where that is not plain. No spare can. */
  get origin(): Origin | undefined {
    return this.#origin
  }

  /** Listens to its worker while no turn runs. Undefined if events are not kept. */
  get unprompted(): Unprompted | undefined {
    return this.#gone === undefined ? this.#unprompted : undefined
  }

  get ref(): SessionRef {
    const { tenant, key, agent } = this.record
    return { tenant, key, agent }
  }

  /** Set once it was deleted or its pool closed: it runs no more turns. */
  get gone(): Error | undefined {
    return this.#gone
  }

  /** The turn that runs. While the worker of one that has ended is still being given back, the next one counts as running. */
  get running(): RunningTurn | undefined {
    return this.#turns.running
  }

  /** Resolves when nothing of the last turn is left to do. */
  get settled(): Promise<void> {
    return this.#turns.settled
  }

  /** True when nothing is going on: it may be forgotten, and read from the store again. */
  get quiet(): boolean {
    const recorded = this.journal?.busy !== true && this.#unprompted?.active !== true
    return this.#isAtRest && recorded && this.#held === 0
  }

  get #isAtRest(): boolean {
    return this.#worker === undefined && this.#opening === undefined && this.#turns.empty
  }

  /** The session is in use beside its turns: meanwhile no second object for it may be created. */
  hold(): void {
    this.#held += 1
  }

  release(): void {
    this.#held -= 1
  }

  /** Claims it for this host before a process of it starts. Rejects with FencedError while it is at work at another host. */
  async own(): Promise<void> {
    const { member, peers } = this.#services
    if (!member.isValid) await member.valid()
    const { ownership } = this
    if (ownership?.isStored === true) await fromOwner(this.record, peers, () => ownership.take())
  }

  /** Claims it from a host that died in its turn. The caller goes on with what that host has left. */
  async ownFromDead(): Promise<void> {
    this.#isTakenOver = true
    try {
      await this.own()
    } finally {
      this.#isTakenOver = false
    }
  }

  /** Its last owner has left it in a turn, or with prompts that have not begun, and whoever claims it first goes on with them. */
  #goOn(): void {
    const { journal } = this
    if (journal === undefined) return
    void this.#keptFor(() => journal.takeOver()).catch((error: unknown) => {
      if (!(error instanceof FencedError))
        this.#warn(`what another host has left of session "${this.record.key}" was not gone on with`, error)
    })
  }

  /** Gives it back to the store for a host that asks for it. False: something goes on with it here. `leaving`: who follows it is told this, and leaves. */
  async giveBack(leaving?: Error): Promise<boolean> {
    const { ownership } = this
    if (this.#gone !== undefined || ownership === undefined || this.running !== undefined) return false
    if (leaving !== undefined) this.journal?.end(leaving)
    else if (this.#isInUse) return false
    try {
      await this.hibernate()
    } catch (error) {
      if (error instanceof SessionBusyError) return false
      throw error
    }
    await this.journal?.written()
    await this.#upkeep
    // A reader that is slow to leave needs no claim.
    if (leaving === undefined ? !this.quiet : !this.#isAtRest) return false
    await ownership.release()
    return true
  }

  get #isInUse(): boolean {
    const isFollowed = this.journal?.isFollowed === true || this.#followers.size > 0
    return this.#held > 0 || isFollowed || this.#unprompted?.active === true
  }

  /** True when nothing keeps this host from working on it: it owns the session, or no store knows it. */
  get owned(): boolean {
    const { ownership } = this
    return this.#services.member.isValid && (ownership?.isStored !== true || ownership.held !== undefined)
  }

  /** Gives the turn its place in the session's journal, if there is one. */
  keep(
    turn: RunningTurn,
    { showPrompt = true, lastEvents }: Pick<SendOptions, 'showPrompt' | 'lastEvents'>,
    stored?: NumberedEvent,
  ): void {
    if (this.journal === undefined) return
    const record = this.#newRecord(this.journal, {
      prompt: showPrompt === false ? undefined : turn.message,
      stored,
      lastEvents: () => (lastEvents === undefined ? [] : this.#lastEvents(lastEvents)),
    })
    turn.keepIn(record)
  }

  #newRecord(
    journal: Journal,
    options: Pick<TurnJournalOptions, 'prompt' | 'lastEvents' | 'stored'> = {},
  ): TurnJournal {
    return new TurnJournal(journal, {
      ...options,
      handsOver: this.#services.resume !== undefined,
      permissions: this.#services.agents.of(this.record.agent).permissions,
      caughtUp: async () => this.#worker?.process.probe(),
      ran: (ms) => this.live.recordActivity(ms),
    })
  }

  /** The next host runs the prompts of turns that have not begun: each of them ends here with this. */
  handOver(error: Error): void {
    if (this.#services.resume !== undefined) this.#turns.endWaiting(error)
  }

  /** Runs the turn now, or does what the caller wants when another one runs. Never throws: it ends the turn. */
  admit(turn: RunningTurn, onBusy: Exclude<OnBusy, 'steer'>, run: () => Promise<void>): void {
    if (this.#gone === undefined) this.#turns.admit(turn, onBusy, run)
    else turn.fail(this.#gone)
  }

  /** The session is deleted, or the pool closes: what runs and what waits ends with this error. Its journal goes on. */
  end(error: Error): void {
    this.#gone = error
    this.#turns.end(error)
    this.#unprompted?.stop(error)
    this.#compacting?.fail(error)
    for (const follower of this.#followers) follower.ended(error)
    this.#worker?.mute()
  }

  /** Another host owns it. It takes no more turns here, and is forgotten once its process has closed. */
  #lose(error: FencedError): void {
    this.end(error)
    this.journal?.end(error)
    this.#losing = this.#closeWorker('fenced')
    this.#warn(`session "${this.record.key}" belongs to another host now; its process here was closed`, error)
  }

  /** Settles when nothing of it runs here any more, after another host has claimed it. */
  get lost(): Promise<void> {
    return this.#losing
  }

  /** Closes its process, also one that is still starting. */
  async #closeWorker(reason: 'fenced'): Promise<void> {
    void this.#worker?.close(reason)
    await this.#opening?.catch(() => undefined)
    await this.#worker?.close(reason)
  }

  /** Lends it this worker, until that leaves or is taken back by `drop()`. */
  lend(worker: Worker): void {
    this.#worker = worker
  }

  drop(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined
  }

  /** Starts a worker. Callers that come meanwhile wait for `opening`. */
  async open<T>(start: () => Promise<T>): Promise<T> {
    const opened = start().finally(() => {
      this.#opening = undefined
    })
    this.#opening = opened.then(() => undefined)
    this.#opening.catch(() => undefined)
    return opened
  }

  /** Its process goes on with another one's conversation, or with a part of its own. */
  beginFrom(origin: Origin): void {
    this.#origin = origin
  }

  /** A process has begun as `origin` said. */
  settleOrigin(): void {
    this.#origin = undefined
  }

  /** What the process of its own does for the pool, and not for a turn; undefined: it is over. */
  recordCompaction(turn: RunningTurn | undefined): void {
    this.#compacting = turn
  }

  /** Tells the agent this with its next prompt, as a system reminder. */
  remind(text: string): void {
    this.#notices.push(text)
  }

  takeReminders(): string[] {
    return this.#notices.splice(0)
  }

  /** Adds a follower of more than its turns. */
  follow(follower: Follower): void {
    this.#followers.add(follower)
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower)
  }

  /** Its removal, shared by all callers until it fails. */
  erase(work: () => Promise<void>): Promise<void> {
    this.#erasing ??= work().catch((error: unknown) => {
      this.#erasing = undefined
      throw error
    })
    return this.#erasing
  }

  /** Its removal, if it is under way. */
  get erasing(): Promise<void> | undefined {
    return this.#erasing
  }

  unpromptedOf(worker: Worker): Unprompted | undefined {
    return this.#worker === worker ? this.unprompted : undefined
  }

  said(worker: Worker, message: SDKMessage): void {
    this.#services.ledger.hear(worker, message)
    this.#services.transcripts.hear(worker, message)
    if (worker.state !== 'busy') for (const follower of this.#followers) follower.said(message)
  }

  idle(worker: Worker): void {
    void this.#recopy(worker)
  }

  closed(worker: Worker, { reason, exit }: ClosedWorker): void {
    const { ledger } = this.#services
    if (reason !== 'deleted' && reason !== 'fenced') void this.#recopy(worker)
    if (ledger.left(worker, { inOrder: exit.exitCode === 0 })) void this.recordUsage()
    if (this.#worker === worker) this.#workerGone()
  }

  async #recopy(worker: Worker): Promise<void> {
    if (!worker.copyFailed) return
    await this.#keptFor(() => this.#services.transcripts.recopy(worker))
  }

  #workerGone(): void {
    this.#worker = undefined
    if (this.#turns.free) this.#services.onIdle(this)
  }

  /** Ends its process and keeps the session. Throws SessionBusyError while a turn runs. */
  async hibernate(): Promise<void> {
    this.#refuseBusy('wait for its end or interrupt it, then hibernate')
    await this.#turns.settled
    await this.#opening?.catch(() => undefined)
    // A turn may have come meanwhile, and must not lose its worker.
    this.#refuseBusy('wait for its end or interrupt it, then hibernate')
    await this.#worker?.close('hibernate')
  }

  /** Waits until nothing of the last turn is left to do. Throws SessionBusyError while a turn runs. */
  async rest(advice: string): Promise<void> {
    this.#refuseBusy(advice)
    await this.#turns.settled
    this.#refuseBusy(advice)
  }

  #refuseBusy(advice: string): void {
    if (this.running === undefined) return
    throw new SessionBusyError(`session "${this.record.key}" runs a turn; ${advice}`)
  }

  /** What callers are told of it. */
  get info(): SessionInfo {
    const state = this.#worker?.state
    // Its process is there, and goes on at once.
    const shown =
      state === 'frozen' ? 'idle' : state === 'starting' || state === 'idle' || state === 'busy' ? state : 'hibernated'
    const { running } = this
    const turn = running && { activeMs: running.record?.activeMs, phase: running.phases.now }
    return infoOf(this.record, shown, turn)
  }

  /** Resolves when every reset so far is stored, or was told of. Never rejects. */
  get resets(): Promise<void> {
    return this.#resetting
  }

  /** The process began another conversation in the same session (`/clear`). */
  reset(sdkSessionId: string): void {
    const before = this.live.recordReset(sdkSessionId)
    const stored = async (): Promise<void> => {
      await this.#services.files.leaveBehind(before)
      await this.live.save()
    }
    this.#resetting = this.#resetting
      .then(() => this.#keptFor(stored))
      .catch((error: unknown) => this.#warn(`the new id of session "${this.record.key}" was not stored`, error))
  }

  /** Makes its identity durable, unless a save has done so or it is being removed. */
  async saveIdentity(): Promise<void> {
    if (this.#erasing === undefined) await this.live.saveIdentity()
  }

  /** Notes what was used outside of a turn's end. */
  async recordUsage(): Promise<void> {
    // Read from the store again before this is there, it would be forgotten.
    await this.#keptFor(() =>
      this.live.touch().catch((error: unknown) => {
        if (!(error instanceof FencedError)) this.#warn(`what session "${this.record.key}" used was not stored`, error)
      }),
    )
  }

  /** It is not forgotten before this work is done. */
  async #keptFor(work: () => Promise<void>): Promise<void> {
    this.hold()
    const done = work().finally(() => {
      this.release()
      this.#services.onIdle(this)
    })
    this.#upkeep = Promise.allSettled([this.#upkeep, done])
    await done
  }

  /** The end of a turn does not depend on what its caller adds. */
  #lastEvents(make: NonNullable<SendOptions['lastEvents']>): readonly NewSessionEvent[] {
    try {
      return make(this.info)
    } catch (error) {
      this.#warn(`the last events of a turn of session "${this.record.key}" could not be made`, error)
      return []
    }
  }

  #warn(message: string, error: unknown): void {
    this.#services.emitter.tell('warning', { message, error })
  }
}
