import type { CancelTimer, Clock } from '../clock.ts'
import { StoreError } from '../errors.ts'
import type { HostDirectory, HostInfo, HostMember, HostReport } from '../store/store.ts'

/** A host that is silent for so long is gone. */
const TTL_MS = 2_500

/** A host stops before the others may take its sessions. */
const MARGIN_MS = 500

/** Between two beats, give or take a tenth. */
const BEAT_MS = 500

/** The same while a request waits for a host that may be gone. */
const EAGER_BEAT_MS = 100

/** Work waits so long for a host that is cut off, in milliseconds. */
const PATIENCE_MS = 5_000

/** What this host does when others come, go, or hold it for gone. */
export interface MembershipListener {
  /** What it tells the others with the next beat. */
  report(): HostReport
  /** Its processes may run until this reading of `Clock.uptime`. */
  extended(until: number): void
  /** The others hold it for gone, and may have its sessions: everything that it runs must end. It comes back as another host. */
  lost(): Promise<void>
  /** Another host is gone. */
  departed(hosts: readonly HostInfo[]): void
  /** A session is in a turn, and no host owns it. */
  left(): void
  /** An operator wants it to drain. */
  drainAsked(): void
  trouble(message: string, error: unknown): void
}

interface MembershipContext {
  clock: Clock
  directory: HostDirectory
  place: string
  version: string
  /** Where the other hosts reach this one, `host:port`. */
  address?: string | undefined
  /** The definitions of the agents of this host by name, as hashes. */
  agents?: () => Readonly<Record<string, string>>
}

/** The membership of this host: it beats, and knows until when the other hosts of the store take it for alive. */
export class Membership implements HostMember {
  readonly #context: MembershipContext
  #id: string
  #listener: MembershipListener | undefined
  #validUntil: number
  /** What the listener was told last. */
  #toldUntil: number | undefined
  /** The time of the store is that of `Clock.uptime` and so much more, in milliseconds. */
  #storeAhead: number | undefined
  #hosts: readonly HostInfo[] = []
  /** Names of all hosts, dead ones included. */
  readonly #names = new Map<string, string>()
  #beating: Promise<void> = Promise.resolve()
  #begunAt = -Infinity
  /** Of the next beat; undefined while one is on its way. */
  #cancel: CancelTimer | undefined
  #stopped = false
  #drainTold = false
  readonly #waiting = new Set<() => void>()

  private constructor(context: MembershipContext, id: string, joinedAt: number) {
    this.#context = context
    this.#id = id
    this.#validUntil = joinedAt + TTL_MS - MARGIN_MS
  }

  /** Rejects with StoreError. */
  static async join(context: MembershipContext): Promise<Membership> {
    const joinedAt = uptime(context.clock)
    return new Membership(context, await join(context), joinedAt)
  }

  get id(): string {
    return this.#id
  }

  /** The hosts that were there at the last beat. */
  get hosts(): readonly HostInfo[] {
    return this.#hosts
  }

  /** The time of the store, about, in milliseconds since the epoch: the clocks of hosts may differ. */
  get storeTime(): number {
    const { clock } = this.#context
    return this.#storeAhead === undefined ? clock.wall() : uptime(clock) + this.#storeAhead
  }

  /** The agents have other definitions: what this host claims from now on is of these. Rejects with StoreError. */
  async describe(): Promise<void> {
    const { directory, agents } = this.#context
    if (agents !== undefined) await directory.describe(this.#id, agents())
  }

  get isValid(): boolean {
    return uptime(this.#context.clock) < this.#validUntil
  }

  nameOf(id: string): string {
    return this.#names.get(id) ?? `host ${id}`
  }

  async valid(): Promise<void> {
    if (this.isValid) return
    const { clock } = this.#context
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        cancel()
        this.#waiting.delete(settle)
        resolve()
      }
      const cancel = clock.after(PATIENCE_MS, settle, { keepAlive: true })
      this.#waiting.add(settle)
    })
    if (!this.isValid)
      throw new StoreError(
        `this host has not reached its database for ${TTL_MS - MARGIN_MS} ms, so other hosts may own its sessions; nothing was sent. Try again`,
      )
  }

  /** Begins to beat. */
  start(listener: MembershipListener): void {
    this.#listener = listener
    // Processes may start before the first beat has come back: their lease begins now.
    this.#extend(this.#validUntil)
    this.#beat()
  }

  /** Beats at once: something has changed that the others should know. Resolves when they can. */
  async hurry(): Promise<void> {
    await this.#beating
    this.#beat()
    await this.#beating
  }

  /** A request waits for a host that may be gone, which the next beat tells: it comes within 100 ms of the last one. */
  lookSoon(): void {
    if (this.#cancel === undefined || this.#stopped) return
    this.#cancel()
    this.#beatAfter(EAGER_BEAT_MS)
  }

  /** Beats no more. Resolves when no beat is on its way. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    for (const settle of this.#waiting) settle()
    await this.#beating
  }

  #beat(): void {
    if (this.#stopped) return
    this.#cancel?.()
    this.#cancel = undefined
    this.#begunAt = uptime(this.#context.clock)
    this.#beating = this.#once(this.#begunAt).finally(() => this.#beatAfter(BEAT_MS * (0.9 + Math.random() / 5)))
  }

  /** Counted from the beginning of the last beat. */
  #beatAfter(ms: number): void {
    if (this.#stopped) return
    const { clock } = this.#context
    const pauseMs = ms - (uptime(clock) - this.#begunAt)
    this.#cancel = clock.after(Math.max(0, pauseMs), () => this.#beat(), { keepAlive: true })
  }

  async #once(begunAt: number): Promise<void> {
    const listener = this.#listener as MembershipListener
    let beat
    try {
      beat = await this.#context.directory.beat(this.#id, listener.report())
    } catch {
      // The next beat is due. What fails for long shows in every call of the store.
      return
    }
    try {
      if (beat.now !== undefined) this.#storeAhead = beat.now - (begunAt + uptime(this.#context.clock)) / 2
      if (!beat.isMember) await this.#comeBack()
      else {
        this.#heard(begunAt, beat.hosts)
        if (beat.isLeft === true) listener.left()
      }
    } catch (error) {
      listener.trouble('what a beat has shown could not be done', error)
    }
  }

  #extend(until: number): void {
    this.#validUntil = until
    if (until !== this.#toldUntil) (this.#listener as MembershipListener).extended(until)
    this.#toldUntil = until
    for (const settle of this.#waiting) settle()
  }

  #heard(begunAt: number, hosts: readonly HostInfo[]): void {
    const listener = this.#listener as MembershipListener
    // Counted from before the beat: the others count from after it.
    this.#extend(begunAt + TTL_MS - MARGIN_MS)
    const there = new Set(hosts.map(({ id }) => id))
    const departed = this.#hosts.filter(({ id }) => !there.has(id))
    this.#hosts = hosts
    for (const { id, place } of hosts) this.#names.set(id, place)
    if (departed.length > 0) listener.departed(departed)
    if (hosts.some(({ id, state }) => id === this.#id && state === 'draining') && !this.#drainTold) {
      this.#drainTold = true
      listener.drainAsked()
    }
  }

  async #comeBack(): Promise<void> {
    const { clock } = this.#context
    const listener = this.#listener as MembershipListener
    const before = this.#id
    this.#validUntil = -Infinity
    this.#toldUntil = undefined
    await listener.lost()
    if (this.#stopped) return
    const joinedAt = uptime(clock)
    this.#id = await join(this.#context)
    this.#drainTold = false
    // What it was has not departed: it is this host.
    this.#hosts = this.#hosts.filter(({ id }) => id !== before)
    this.#extend(joinedAt + TTL_MS - MARGIN_MS)
  }
}

const join = ({ directory, place, version, address, agents }: MembershipContext): Promise<string> =>
  directory.join(place, { version, ttlMs: TTL_MS, address, ...(agents === undefined ? {} : { agents: agents() }) })

/** With the time that the machine was suspended: the database counts that, too. */
const uptime = (clock: Clock): number => clock.uptime?.() ?? clock.now()

/** The member of a store that has one host at a time. */
export const onlyHost = (id: string): HostMember => ({
  id,
  isValid: true,
  valid: async () => undefined,
  nameOf: (other) => `host ${other}`,
})
