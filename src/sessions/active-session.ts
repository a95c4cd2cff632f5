import type { Clock } from '../clock.ts'
import type { ResumePoint, SDKMessage } from '../driver/driver.ts'
import { PoolClosedError, SessionBusyError, TurnInterruptedError } from '../errors.ts'
import type { SessionRecord, Store, SessionRef, SessionInfo } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import { Journal } from '../journal/journal.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import type { RunningTurn } from '../turns/turn.ts'
import { TurnRecord } from '../turns/turn-journal.ts'
import type { TurnRecordOptions } from '../turns/turn-journal.ts'
import { Unprompted } from '../turns/unprompted.ts'
import { noteActivity } from '../usage/usage.ts'
import type { Permissions } from '../agents/permissions.ts'
import type { OnBusy, SendOptions } from '../turns/send.ts'

/** Turns of one session that may wait for the one that runs. */
const MAX_QUEUED = 16

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
  /** What is said in it becomes events. */
  events: boolean
}

/** What a conversation needs of its pool. */
export interface ConversationHost {
  readonly store: Store
  readonly clock: Clock
  /** What is known of the calls of this agent before the CLI decides on them. */
  permissionsOf(agent: string): Permissions
  /** The session as it is now. */
  describe(record: SessionRecord): SessionInfo
  run(conversation: Conversation, turn: RunningTurn): Promise<void>
  /** Resolves when the transcript has all that the worker said. Throws StoreError. */
  confirm(worker: Worker): Promise<void>
  /** Its present conversation is about to be replaced by another, and goes with the session. */
  leaveBehind(record: SessionRecord): Promise<void>
  /** No turn runs or waits any more. */
  onIdle(conversation: Conversation): void
  warn: (message: string, error: unknown) => void
}

/** A session while this host works on it: its record, its worker, and its turns one at a time. */
export class Conversation {
  readonly record: SessionRecord
  worker: Worker | undefined
  /** The start of `worker`, shared by all who wait for it. */
  opening: Promise<Worker> | undefined
  /** What its worker does for the pool itself, while no turn runs. */
  compacting: RunningTurn | undefined
  /** Texts that the agent gets with its next prompt, as system reminders. */
  notices: string[] = []
  /** Set until a process has begun so. No spare can. */
  origin: Origin | undefined
  /** Those who follow more of it than its turns. */
  readonly followers: Set<Follower> = new Set()
  /** Its removal, shared by all who ask for it. */
  erasing: Promise<void> | undefined
  #running: RunningTurn | undefined
  #queue: RunningTurn[] = []
  #gone: Error | undefined
  #settled: Promise<void> = Promise.resolve()
  #resetting: Promise<void> = Promise.resolve()
  #held = 0
  /** True while the record says more of its identity than the store. */
  #identityUnsaved = false
  /** True for a conversation that is deleted at its end: no store knows it. */
  readonly ephemeral: boolean
  /** Its events; undefined where none are kept. */
  readonly journal: Journal | undefined
  readonly #host: ConversationHost
  readonly #unprompted: Unprompted | undefined

  constructor(record: SessionRecord, host: ConversationHost, keeping: Keeping) {
    this.record = record
    this.#host = host
    this.ephemeral = keeping.ephemeral
    const { store, clock } = host
    const onIdle = (): void => {
      if (this.quiet) host.onIdle(this)
    }
    this.journal = keeping.events ? new Journal(record.uid, { store, clock, onIdle }) : undefined
    this.#unprompted = this.journal && this.#listener(this.journal)
  }

  #listener(journal: Journal): Unprompted {
    return new Unprompted({
      newRecord: () => this.#newRecord(journal),
      lastTurn: () => (this.#running?.phase === 'running' ? this.#running.ended : undefined),
      confirm: async () => {
        if (this.worker !== undefined) await this.#host.confirm(this.worker)
      },
      speaks: (speaks) => {
        this.worker?.noteUnprompted(speaks)
        if (!speaks && this.#gone === undefined) void this.noteUsage()
      },
    })
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
    return this.#running?.phase === 'ended' ? this.#queue.find(({ phase }) => phase !== 'ended') : this.#running
  }

  /** Resolves when nothing of the last turn is left to do. */
  get settled(): Promise<void> {
    return this.#settled
  }

  /** True when nothing is going on: it may be forgotten, and read from the store again. */
  get quiet(): boolean {
    const workerless = this.worker === undefined && this.opening === undefined
    const recorded = this.journal?.busy !== true && this.#unprompted?.active !== true
    return workerless && recorded && this.#running === undefined && this.#queue.length === 0 && this.#held === 0
  }

  /** Somebody works with it beside its turns: a second object for the same session must not come up meanwhile. */
  hold(): void {
    this.#held += 1
  }

  release(): void {
    this.#held -= 1
  }

  /** Gives the turn its place in the session's journal, if there is one. */
  keep(turn: RunningTurn, { showPrompt = true, lastEvents }: Pick<SendOptions, 'showPrompt' | 'lastEvents'>): void {
    if (this.journal === undefined) return
    const record = this.#newRecord(this.journal, {
      prompt: showPrompt ? turn.message : undefined,
      lastEvents: () => (lastEvents === undefined ? [] : this.#lastEvents(lastEvents)),
    })
    turn.keepIn(record)
  }

  #newRecord(journal: Journal, options: Pick<TurnRecordOptions, 'prompt' | 'lastEvents'> = {}): TurnRecord {
    return new TurnRecord(journal, {
      ...options,
      permissions: this.#host.permissionsOf(this.record.agent),
      caughtUp: async () => this.worker?.process.probe(),
      ran: (ms) => noteActivity(this.record, ms),
    })
  }

  /** Runs the turn now, or does what the caller wants when another one runs. Never throws: it ends the turn. */
  admit(turn: RunningTurn, onBusy: Exclude<OnBusy, 'steer'>): void {
    const { running } = this
    if (this.#gone !== undefined) {
      turn.fail(this.#gone)
    } else if (this.#running === undefined) {
      this.#settled = this.#start(turn)
    } else if (running === undefined) {
      this.#enqueue(turn)
    } else if (onBusy === 'reject') {
      turn.fail(this.#busy('a turn of this session runs; wait for it, or say what to do with onBusy'))
    } else if (this.#queue.length >= MAX_QUEUED) {
      turn.fail(this.#busy(`${MAX_QUEUED} turns of this session wait already`))
    } else {
      turn.onCancel = () => {
        this.#queue = this.#queue.filter((other) => other !== turn)
      }
      this.#enqueue(turn, onBusy === 'interrupt')
      if (onBusy === 'interrupt') void running.interrupt()
    }
  }

  /** The session is deleted, or the pool closes: what runs and what waits ends with this error. Its journal goes on. */
  end(error: Error): void {
    this.#gone = error
    for (const turn of this.#queue.splice(0)) turn.fail(error)
    this.#running?.fail(error)
    this.#unprompted?.stop(error)
    this.compacting?.fail(error)
    for (const follower of this.followers) follower.ended(error)
    this.worker?.mute()
  }

  /** Its worker has left; the next turn finds another. */
  workerGone(): void {
    this.worker = undefined
    if (this.#running === undefined) this.#host.onIdle(this)
  }

  /** Resolves when every reset so far is stored, or was told of. Never rejects. */
  get resets(): Promise<void> {
    return this.#resetting
  }

  /** The process began another conversation in the same session (`/clear`). */
  reset(sdkSessionId: string): void {
    const before = { ...this.record }
    this.record.sdkSessionId = sdkSessionId
    const stored = async (): Promise<void> => {
      await this.#host.leaveBehind(before)
      await this.save()
    }
    this.#resetting = this.#resetting
      .then(stored)
      .catch((error: unknown) => this.#host.warn(`the new id of session "${this.record.key}" was not stored`, error))
  }

  /** Notes what it has become; durable once any of the saves has resolved. */
  identify(identity: Pick<SessionRecord, 'sdkSessionId' | 'cwd' | 'ownsCwd'>): void {
    Object.assign(this.record, identity)
    this.#identityUnsaved = true
  }

  /** Makes the record durable. */
  async save(): Promise<void> {
    if (!this.ephemeral) await this.#host.store.put(this.record)
    this.#identityUnsaved = false
  }

  /** Makes its identity durable, unless a save has done so or it is being removed. */
  async saveIdentity(): Promise<void> {
    if (this.#identityUnsaved && this.erasing === undefined) await this.save()
  }

  /** Notes the use of the session, less urgently. */
  async touch(): Promise<void> {
    if (!this.ephemeral) await this.#host.store.touch(this.record)
  }

  /** Notes what was used outside of a turn's end. */
  async noteUsage(): Promise<void> {
    // Read from the store again before this is there, it would be forgotten.
    this.hold()
    await this.touch().catch((error: unknown) =>
      this.#host.warn(`what session "${this.record.key}" used was not stored`, error),
    )
    this.release()
    this.#host.onIdle(this)
  }

  /** The end of a turn does not depend on what its caller adds. */
  #lastEvents(make: NonNullable<SendOptions['lastEvents']>): readonly NewSessionEvent[] {
    try {
      return make(this.#host.describe(this.record))
    } catch (error) {
      this.#host.warn(`the last events of a turn of session "${this.record.key}" could not be made`, error)
      return []
    }
  }

  #enqueue(turn: RunningTurn, first = false): void {
    if (first) this.#queue.unshift(turn)
    else this.#queue.push(turn)
    void turn.record?.accept()
  }

  async #start(turn: RunningTurn): Promise<void> {
    this.#running = turn
    turn.onCancel = undefined
    try {
      await this.#host.run(this, turn)
    } catch (error) {
      if (turn.phase !== 'ended') turn.fail(error as Error)
      else if (!isExpected(error))
        this.#host.warn(`something failed after a turn of session "${this.record.key}"`, error)
    }
    this.#running = undefined
    // A turn that was aborted while it waited needs no worker.
    this.#queue = this.#queue.filter(({ phase }) => phase !== 'ended')
    const next = this.#queue.shift()
    if (next !== undefined) this.#settled = this.#start(next)
    else this.#host.onIdle(this)
  }

  #busy(why: string): SessionBusyError {
    return new SessionBusyError(`session "${this.record.key}" is busy: ${why}`)
  }
}

/** What follows from the end of a turn that still waited tells nobody anything new. */
const isExpected = (error: unknown): boolean =>
  error instanceof TurnInterruptedError || error instanceof PoolClosedError
