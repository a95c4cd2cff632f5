import type { MembershipListener } from '../cluster/membership.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { FencedError, PoolClosedError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { Gate } from '../admission/gate.ts'
import { takeOver } from '../sessions/open-turns.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { ClaimedSession, HostInfo, HostMember, HostReport, Store } from '../store/store.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'

interface TakeoverContext {
  clock: Clock
  driver: Driver
  store: Store
  emitter: PoolEmitter
  gate: Gate
  ledger: UsageLedger
  sessions: Sessions
  member: HostMember
  /** Another host is gone. */
  onDeparted: (id: string) => void
}

/** Sessions that one host takes in one statement, and at once. Meanwhile other hosts take others. */
const PAGE = 10

/** Survivors do not all ask at the same moment. */
const MOST_DELAY_MS = 300

/** Looks so often without being told: another host may have held a row while this one looked. */
const LOOK_MS = 5_000

/** Takes over running sessions of dead hosts, and ends the sessions of this host when the others have declared it dead. */
export class Takeover implements MembershipListener {
  readonly #context: TakeoverContext
  /** How often it was to look for sessions of hosts that are gone, and up to which of these it has. A host that starts looks. */
  #asked = 1
  #looked = 0
  #lookedAt = -Infinity
  #isWaiting = false
  /** Sessions that this host owns by now and could not go on with yet. */
  #begun: ClaimedSession[] = []
  #taking: Promise<void> | undefined
  #cancel: CancelTimer | undefined
  #stopped = false

  constructor(context: TakeoverContext) {
    this.#context = context
  }

  report(): HostReport {
    const { running, waiting, limit, draining } = this.#facts
    if (this.#context.clock.now() - this.#lookedAt >= LOOK_MS) this.#asked += 1
    if (this.#looked < this.#asked && !this.#isWaiting) void this.#take()
    void this.#context.sessions.returns.again()
    if (draining) this.#giveBackIdle()
    return { state: draining ? 'draining' : 'ready', running, waiting, free: Math.max(0, limit - running - waiting) }
  }

  /** Other hosts go on with sessions at once that nothing goes on with here. */
  #giveBackIdle(): void {
    for (const session of this.#context.sessions.active)
      session
        .giveBack(new PoolClosedError())
        .catch((error: unknown) => this.trouble('a session was not given back yet', error))
  }

  extended(until: number): void {
    this.#context.driver.lease?.(until)
  }

  async lost(): Promise<void> {
    const { driver, emitter, sessions, member } = this.#context
    emitter.tell('host.lost', { id: member.id })
    driver.lease?.('lost')
    const ended = [...sessions.active].filter(({ ownership }) => ownership?.held !== undefined)
    for (const { record, ownership } of ended) ownership?.lose(new FencedError(record.uid, undefined))
    await Promise.all(ended.map(({ lost }) => lost))
    this.#asked += 1
  }

  departed(hosts: readonly HostInfo[]): void {
    const { emitter, onDeparted } = this.#context
    for (const { id, place } of hosts) {
      emitter.tell('host.departed', { id, place })
      onDeparted(id)
    }
    this.left()
  }

  left(): void {
    const { clock } = this.#context
    this.#asked += 1
    if (this.#isWaiting || this.#stopped) return
    this.#isWaiting = true
    this.#cancel?.()
    this.#cancel = clock.after(Math.random() * MOST_DELAY_MS, () => {
      this.#isWaiting = false
      void this.#take()
    })
  }

  drainAsked(): void {
    this.#context.emitter.tell('host.drainAsked', { id: this.#context.member.id })
  }

  trouble(message: string, error: unknown): void {
    this.#context.emitter.tell('warning', { message, error })
  }

  /** Resolves when nothing is being taken over. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    await this.#taking
  }

  get #facts(): { running: number; waiting: number; limit: number; draining: boolean } {
    const { gate } = this.#context
    return { ...gate.facts, draining: gate.draining }
  }

  #take(): Promise<void> {
    this.#taking ??= this.#takeAll()
      .catch((error: unknown) => this.trouble('sessions of a host that is gone could not be taken over yet', error))
      .finally(() => {
        this.#taking = undefined
      })
    return this.#taking
  }

  /** As many as there is room for; the others go to other hosts, or come with a later beat. */
  async #takeAll(): Promise<void> {
    const { clock, store, member } = this.#context
    await this.#takeAgain()
    while (!this.#stopped && member.isValid && !this.#facts.draining) {
      // A request from here on may mean sessions that this look does not find.
      const asked = this.#asked
      this.#lookedAt = clock.now()
      const { running, waiting, limit } = this.#facts
      const room = Math.min(PAGE, limit - running - waiting)
      if (room < 1) return
      const adopted = await store.adopt(member.id, room)
      const taken = await Promise.all(adopted.map((session) => this.#takeOver(session)))
      const isDone = taken.every(Boolean)
      if (adopted.length < room || !isDone) {
        if (isDone) this.#looked = asked
        return
      }
    }
  }

  /** Those with a follower here stay at this host. */
  async #takeAgain(): Promise<void> {
    const { active } = this.#context.sessions
    const begun = this.#begun
    this.#begun = []
    for (const session of begun)
      if (active.inMemory(session.record)?.ownership?.held !== undefined) await this.#takeOver(session)
  }

  /** False: it is left to a later beat, or to another host. */
  async #takeOver({ record, claim }: ClaimedSession): Promise<boolean> {
    const { sessions, store, ledger, emitter } = this.#context
    try {
      await sessions.active.with(record, async (session) => {
        await takeOver(session, { store, ledger })
        emitter.tell('session.takenOver', { session: session.ref })
      })
      return true
    } catch (error) {
      this.trouble(`the session "${record.key}" of a host that is gone could not be taken over`, error)
      this.#begun.push({ record, claim, lastEvent: 0 })
      await store.release(claim).catch((problem: unknown) => this.trouble('nor could it be released', problem))
      return false
    }
  }
}
