import type { Clock } from '../clock.ts'
import { CapacityError, PoolClosedError, TurnInterruptedError } from '../errors.ts'
import type { CapacityReason } from '../errors.ts'
import type { MemoryReservation } from '../memory/governor.ts'
import type { Admission } from '../options/admission.ts'
import { Suspension } from './suspension.ts'
import { keepNewest } from '../newest.ts'

/** Until turns have been seen, one is taken to last this long. */
const FIRST_GUESS_MS = 5_000

/** How much the newest turn moves the average. */
const SMOOTHING = 0.2

const SHORTEST_RETRY_MS = 100

/** The right to run one turn, or to start a worker ahead of one. Made by the gate alone; given back once. */
export class Permit {
  readonly tenant: string
  readonly #giveBack: () => void
  #held = true

  private constructor(tenant: string, giveBack: () => void) {
    this.tenant = tenant
    this.#giveBack = giveBack
  }

  /** For the gate. */
  static issue(_gate: Gate, tenant: string, giveBack: () => void): Permit {
    return new Permit(tenant, giveBack)
  }

  /** Giving it back twice is harmless. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    this.#giveBack()
  }
}

/** Knows how many turns fit into memory. */
export interface GateMemory {
  obstacle(claim: MemoryReservation): 'turns' | 'memory' | undefined
  hold(claim: MemoryReservation): void
  drop(claim: MemoryReservation): void
  readonly turnsThatFit: number
}

interface Waiting {
  tenant: string
  claim: MemoryReservation | undefined
  admit(permit: Permit): void
  refuse(error: Error): void
}

export interface GateOptions {
  /** Infinity: as many as fit into memory. */
  turns: number
  turnsPerTenant: number | 'auto'
  admission: Admission
  clock: Clock
  memory?: GateMemory
}

/** Tenants that were refused and have not come again are remembered: so many, at most. */
const MAX_WANTING = 1_000

/** Says whether a turn may run now. Synchronous and atomic; counts turns, not sessions; fair between tenants. */
export class Gate {
  readonly #options: GateOptions
  readonly #running = new Map<string, number>()
  /** One queue a tenant, served in turn. */
  readonly #waiting = new Map<string, Waiting[]>()
  /** Tenants that were refused for others' turns, until when they may be expected back. */
  readonly #wanting = new Map<string, number>()
  #total = 0
  #waitingTotal = 0
  #starts = 0
  #shed = 0
  readonly #suspension = new Suspension()
  #turnMs = FIRST_GUESS_MS

  constructor(options: GateOptions) {
    this.#options = options
  }

  get facts(): { running: number; limit: number; waiting: number; shed: number; starts: number } {
    return {
      running: this.#total,
      limit: this.#limit,
      waiting: this.#waitingTotal,
      shed: this.#shed,
      starts: this.#starts,
    }
  }

  get #limit(): number {
    return Math.min(this.#options.turns, this.#options.memory?.turnsThatFit ?? Infinity)
  }

  /** True while no turn may start. */
  get suspended(): boolean {
    return this.#suspension.whole !== undefined
  }

  /** True when nothing will ever start again. */
  get draining(): boolean {
    return this.#suspension.whole === 'draining'
  }

  /** The tenants that are suspended by name. */
  get suspendedTenants(): string[] {
    return this.#suspension.tenants
  }

  /** Admits no new turn; waiting ones keep waiting (`suspended`) or are rejected (`draining`). */
  suspend(reason: 'suspended' | 'draining'): void {
    this.#suspension.suspend(reason)
    if (reason !== 'draining') return
    for (const queue of this.#waiting.values()) for (const waiting of queue) waiting.refuse(new PoolClosedError())
    this.#waiting.clear()
    this.#waitingTotal = 0
  }

  /** Admits no new turn of this tenant; waiting ones keep waiting. Throws PoolClosedError, ConfigError. */
  suspendTenant(tenant: string): void {
    this.#suspension.suspendTenant(tenant)
  }

  /** Ends the suspension of this tenant, not that of the pool. */
  resumeTenant(tenant: string): void {
    this.#suspension.resumeTenant(tenant)
    this.#admitWaiting()
  }

  /** Ends the suspension of the pool, not that of a tenant. Draining has no way back. */
  resume(): void {
    this.#suspension.resume()
    this.#admitWaiting()
  }

  /** There may be room now: admits the waiting turns that fit. */
  reconsider(): void {
    if (this.#waitingTotal > 0) this.#admitWaiting()
  }

  /** What the first waiting turn of a tenant waits for; undefined: none waits. */
  waitingFor(tenant: string): CapacityReason | undefined {
    const first = this.#waiting.get(tenant)?.[0]
    if (first === undefined) return undefined
    const obstacle = this.#obstacle(tenant, first.claim)
    return obstacle === undefined || obstacle === 'draining' ? 'turns' : obstacle
  }

  /** A turn has taken this long. */
  recordTurn(ms: number): void {
    this.#turnMs += SMOOTHING * (ms - this.#turnMs)
  }

  /** Makes the error for a turn that is not admitted, and counts it. */
  refuse(reason: CapacityReason, message: string): CapacityError {
    this.#shed += 1
    const { running, limit, waiting } = this.facts
    const retryAfterMs = Math.max(SHORTEST_RETRY_MS, Math.ceil((this.#turnMs * (waiting + 1)) / Math.max(running, 1)))
    const numbers = `${running} of ${limit} turns run, ${waiting} wait`
    return new CapacityError(reason, `${message} (${numbers}); try again in ${retryAfterMs} ms`, retryAfterMs, {
      running,
      limit,
      waiting,
    })
  }

  /** Admits what can be done another time: undefined when there is no place, and nothing is counted as refused. */
  enterIfFree(tenant: string, claim: MemoryReservation): Permit | undefined {
    const isFree = this.#obstacle(tenant, claim) === undefined && !this.#othersWait(tenant)
    return isFree ? this.#admit(tenant, claim) : undefined
  }

  /** Admits a turn, after a wait if the pool was made with one. `claim`: what it will need of memory. */
  async enter(tenant: string, signal: AbortSignal, claim?: MemoryReservation): Promise<Permit> {
    const { admission } = this.#options
    const obstacle = this.#obstacle(tenant, claim)
    if (obstacle === undefined && !this.#othersWait(tenant)) return this.#admit(tenant, claim)
    if (obstacle === 'draining') throw new PoolClosedError('the pool is draining or closed and takes no new turns')
    if (admission.mode === 'shed') throw this.#refusal(obstacle ?? 'turns', tenant)
    if (this.#waitingTotal >= admission.maxWaiting) throw this.#refusal('queue', tenant)
    return this.#wait(tenant, claim, signal, admission.timeoutMs)
  }

  /** The right to start a worker that no turn waits for. Throws while no turn could start either. */
  permitStart(tenant: string): Permit {
    const suspended = this.#suspension.of(tenant)
    if (suspended === 'draining') throw new PoolClosedError()
    if (suspended !== undefined) throw this.#refusal('suspended', tenant)
    this.#starts += 1
    return Permit.issue(this, tenant, () => {
      this.#starts -= 1
    })
  }

  #wait(tenant: string, claim: MemoryReservation | undefined, signal: AbortSignal, timeoutMs: number): Promise<Permit> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        cancel()
        signal.removeEventListener('abort', aborted)
      }
      const waiting: Waiting = {
        tenant,
        claim,
        admit(permit) {
          done()
          resolve(permit)
        },
        refuse(error) {
          done()
          reject(error)
        },
      }
      const aborted = (): void => {
        this.#forget(waiting)
        waiting.refuse(
          new TurnInterruptedError('the turn was aborted while it waited for a place', { cause: signal.reason }),
        )
      }
      const cancel = this.#options.clock.after(timeoutMs, () => {
        this.#forget(waiting)
        const obstacle = this.#obstacle(tenant, claim)
        waiting.refuse(obstacle === 'draining' ? new PoolClosedError() : this.#refusal(obstacle ?? 'turns', tenant))
      })
      signal.addEventListener('abort', aborted, { once: true })
      const queue = this.#waiting.get(tenant)
      if (queue === undefined) this.#waiting.set(tenant, [waiting])
      else queue.push(waiting)
      this.#waitingTotal += 1
      if (signal.aborted) aborted()
    })
  }

  #forget(waiting: Waiting): void {
    const queue = this.#waiting.get(waiting.tenant)
    const index = queue?.indexOf(waiting) ?? -1
    if (queue === undefined || index === -1) return
    queue.splice(index, 1)
    this.#waitingTotal -= 1
    if (queue.length === 0) this.#waiting.delete(waiting.tenant)
  }

  #obstacle(
    tenant: string,
    claim: MemoryReservation | undefined,
  ): 'turns' | 'tenant' | 'memory' | 'suspended' | 'draining' | undefined {
    const { turns, turnsPerTenant, memory } = this.#options
    const suspended = this.#suspension.of(tenant)
    if (suspended !== undefined) return suspended
    if (this.#total >= turns) return 'turns'
    const own = this.#running.get(tenant) ?? 0
    if (turnsPerTenant === 'auto' ? this.#crowdsOut(tenant, own) : own >= turnsPerTenant) return 'tenant'
    return claim === undefined ? undefined : memory?.obstacle(claim)
  }

  /** True for a tenant with its even share or more, which takes a place that another one was refused. */
  #crowdsOut(tenant: string, own: number): boolean {
    if (own === 0) return false
    const now = this.#options.clock.now()
    const others = new Set([...this.#waiting.keys()].filter((other) => !this.#suspension.holdsOnly(other)))
    for (const [other, until] of this.#wanting) if (until > now) others.add(other)
    others.delete(tenant)
    if (others.size === 0) return false
    const limit = this.#limit
    const tenants = new Set([...this.#running.keys(), ...others, tenant])
    return own >= limit / tenants.size && limit - this.#total <= others.size
  }

  /** A newcomer may only pass turns whose tenant is at its limit or suspended. */
  #othersWait(tenant: string): boolean {
    for (const [waitingTenant, [first]] of this.#waiting) {
      if (waitingTenant !== tenant && this.#suspension.holdsOnly(waitingTenant)) continue
      if (waitingTenant === tenant || this.#obstacle(waitingTenant, first?.claim) !== 'tenant') return true
    }
    return false
  }

  #admit(tenant: string, claim: MemoryReservation | undefined): Permit {
    const { memory } = this.#options
    this.#total += 1
    this.#running.set(tenant, (this.#running.get(tenant) ?? 0) + 1)
    this.#wanting.delete(tenant)
    if (claim !== undefined) memory?.hold(claim)
    return Permit.issue(this, tenant, () => {
      if (claim !== undefined) memory?.drop(claim)
      this.#total -= 1
      const left = (this.#running.get(tenant) ?? 1) - 1
      if (left === 0) this.#running.delete(tenant)
      else this.#running.set(tenant, left)
      this.#admitWaiting()
    })
  }

  /** First come, first served within a tenant; one each between tenants, round and round. */
  #admitWaiting(): void {
    let admitted = true
    while (admitted) {
      admitted = false
      for (const tenant of Array.from(this.#waiting.keys())) admitted = this.#admitFirstOf(tenant) || admitted
    }
  }

  #admitFirstOf(tenant: string): boolean {
    const queue = this.#waiting.get(tenant)
    const next = queue?.[0]
    if (queue === undefined || next === undefined || this.#obstacle(tenant, next.claim) !== undefined) return false
    this.#forget(next)
    if (queue.length > 0) {
      this.#waiting.delete(tenant)
      this.#waiting.set(tenant, queue)
    }
    next.admit(this.#admit(tenant, next.claim))
    return true
  }

  #refusal(reason: 'turns' | 'tenant' | 'memory' | 'suspended' | 'queue', tenant: string): CapacityError {
    const sentences = {
      turns: 'no place for another turn',
      memory: 'no memory for another turn',
      tenant: `tenant "${tenant}" has all the turns that limits.turnsPerTenant gives it`,
      suspended:
        this.#suspension.whole === undefined
          ? `tenant "${tenant}" is suspended; resume it with pool.resume({ tenant })`
          : 'the pool is suspended; call pool.resume()',
      queue: 'the queue for turns is full (admission.maxWaiting)',
    }
    const error = this.refuse(reason, sentences[reason])
    if (reason !== 'tenant' && reason !== 'suspended') this.#expect(tenant, error.retryAfterMs)
    return error
  }

  /** A refused tenant may be expected back when it was told to come, or somewhat later. */
  #expect(tenant: string, retryAfterMs: number): void {
    this.#wanting.delete(tenant)
    this.#wanting.set(tenant, this.#options.clock.now() + 2 * retryAfterMs)
    keepNewest(this.#wanting, MAX_WANTING)
  }
}
