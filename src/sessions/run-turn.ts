import type { Permit } from '../admission/gate.ts'
import type { Clock } from '../clock.ts'
import { CapacityError, PoolClosedError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { TurnLimits } from '../options/limits.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { SessionEvent } from '../journal/session-event.ts'
import type { MessageContent, TurnInput } from '../turns/prompt.ts'
import { newTurn, outcomeOf } from '../turns/send.ts'
import type { OnBusy, SendOptions } from '../turns/send.ts'
import { steer } from '../turns/steering.ts'
import type { RunningTurn } from '../turns/running-turn.ts'
import type { Turn } from '../turns/turn.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import type { Warmth } from '../worker/warmth.ts'
import type { Worker } from '../worker/worker.ts'
import type { ActiveSession } from './active-session.ts'
import type { ActiveSessions } from './active-sessions.ts'
import type { Checkout } from './checkout.ts'
import { ownInTurn } from './peers.ts'
import type { SessionPeers } from './peers.ts'
import type { SessionIdentity } from './session-record.ts'
import type { TranscriptCopies } from './transcript-copies.ts'
import { TurnList } from './turn-list.ts'

export interface TurnRunnerContext {
  clock: Clock
  emitter: PoolEmitter
  fleet: Fleet
  active: ActiveSessions
  checkout: Checkout
  transcripts: TranscriptCopies
  ledger: UsageLedger
  /** The other hosts; undefined: they are not asked. */
  peers: SessionPeers | undefined
  /** The limits of this agent's turns. */
  limitsOf: (agent: string) => TurnLimits
}

/** Makes a turn of each prompt, and runs it from its admission to its end. */
export class TurnRunner {
  readonly #context: TurnRunnerContext
  readonly #runs = new Map<Promise<void>, RunningTurn>()
  /** Those that have not ended. */
  readonly open: TurnList

  constructor(context: TurnRunnerContext) {
    this.#context = context
    this.open = new TurnList(context.clock)
  }

  /** Never throws: what goes wrong ends the turn. */
  send(identity: SessionIdentity, input: TurnInput, options: SendOptions): Turn {
    const { active } = this.#context
    const session = active.inMemory(identity)
    if (options?.onBusy === 'steer' && session?.running !== undefined) return steer(session.running, input, options)
    const turn = this.#newTurn(input, options, session?.record.agent ?? identity.agent)
    this.open.add(turn, () => identity)
    if (session !== undefined) this.#admit(session, turn, options)
    else {
      active.find(identity).then(
        (found) => this.#admit(found, turn, options),
        (error: unknown) => turn.fail(error as Error),
      )
    }
    return turn
  }

  /** Sends a prompt of a query, whose turn `adapt` may change before anything comes of it. */
  sendForQuery(session: ActiveSession, message: TurnInput, adapt: (turn: RunningTurn) => void): RunningTurn {
    const options: SendOptions = { onBusy: 'queue' }
    const turn = this.#newTurn(message, options, session.record.agent)
    adapt(turn)
    this.#admit(session, turn, options)
    return turn
  }

  /** Runs prompts that an earlier host has stored and not begun. No caller waits for them here: their events tell the outcome. */
  resume(session: ActiveSession, prompts: readonly NumberedEvent[]): void {
    for (const stored of prompts) {
      const { content, metadata } = stored.event as Extract<SessionEvent, { type: 'user.message' }>
      const options: SendOptions = { onBusy: 'queue', ...(metadata === undefined ? {} : { metadata }) }
      const turn = this.#newTurn(content as unknown as MessageContent, options, session.record.agent)
      // Its agent is not known here, for instance.
      if (turn.failure !== undefined) void this.#endStored(session, stored, turn.failure)
      else this.#admit(session, turn, options, stored)
    }
  }

  async #endStored(session: ActiveSession, stored: NumberedEvent, { message }: Error): Promise<void> {
    const why = `this prompt could not run at the host that has taken the session over: ${message}`
    try {
      await session.journal?.endPrompt(stored, why)
    } catch (error) {
      this.#context.emitter.tell('warning', {
        message: `a prompt of session "${session.record.key}" was not ended`,
        error,
      })
    }
  }

  /** Resolves when no turn runs. */
  async settled(): Promise<void> {
    while (this.#runs.size > 0) await Promise.all(this.#runs.keys())
  }

  /** The same, but what goes on for a turn that has ended without a worker is not waited for: the start of one. */
  async ended(): Promise<void> {
    for (;;) {
      const open = [...this.#runs].filter(([, turn]) => turn.state !== 'ended' || turn.workerId !== undefined)
      if (open.length === 0) return
      await Promise.all(open.map(([run, turn]) => (turn.state === 'ended' ? run : Promise.race([run, turn.ended]))))
    }
  }

  #newTurn(input: TurnInput, options: SendOptions, agent: string): RunningTurn {
    const { clock, limitsOf } = this.#context
    return newTurn(input, options, { clock, limits: () => limitsOf(agent) })
  }

  #admit(found: ActiveSession, turn: RunningTurn, options: SendOptions, stored?: NumberedEvent): void {
    const { active } = this.#context
    if (active.closed) turn.fail(new PoolClosedError())
    if (turn.state === 'ended') {
      active.forgetIfQuiet(found)
      return
    }
    const session = active.current(found)
    session.keep(turn, options, stored)
    this.open.add(turn, () => session.ref)
    void turn.ended.then(() => this.#report(session, turn))
    const onBusy = options.onBusy === undefined || options.onBusy === 'steer' ? 'reject' : options.onBusy
    const own = (): Promise<void> => this.#own(session, turn, onBusy)
    session.admit(turn, onBusy, () => this.#tracked(session, turn, own))
  }

  /** Also what follows from a turn counts until it is done. */
  async #tracked(session: ActiveSession, turn: RunningTurn, own: () => Promise<void>): Promise<void> {
    const run = own().then(() => this.#run(session, turn))
    const settled = run.catch(() => undefined).then(() => session.resets)
    this.#runs.set(settled, turn)
    void settled.then(() => this.#runs.delete(settled))
    await run
  }

  /** The session is this host's, or the turn ends with who has it. */
  async #own(session: ActiveSession, turn: RunningTurn, onBusy: Exclude<OnBusy, 'steer'>): Promise<void> {
    if (session.owned) return
    const { clock, peers } = this.#context
    const isOver = (): boolean => turn.state === 'ended'
    await ownInTurn(session.record, () => session.own(), { peers, clock, onBusy, isOver })
  }

  /** Runs one turn from its admission to its end, and gives back what it took on every path. */
  async #run(session: ActiveSession, turn: RunningTurn): Promise<void> {
    const { clock, checkout } = this.#context
    if (turn.agent !== undefined) await useAgent(session, turn.agent)
    const permit = await this.#enter(session, turn)
    turn.phases.enter('starting')
    // A caller that sees the end of a turn finds its place free.
    turn.releaseWith(() => permit.release())
    const startedAt = clock.now()
    let used: Worker
    try {
      const { worker, warmth } = await checkout.forTurn(session, permit, turn)
      used = worker
      await this.#runOn(session, worker, warmth, turn)
    } finally {
      permit.release()
      await session.saveIdentity()
      this.#recordEnd(turn, startedAt)
    }
    if (turn.resultMessage !== undefined) await checkout.afterTurn(session, used)
  }

  async #enter(session: ActiveSession, turn: RunningTurn): Promise<Permit> {
    const { gate } = this.#context.fleet
    const cancelled = new AbortController()
    // Without a reason, an error with its stack is made for each turn.
    void turn.ended.then(() => cancelled.abort(turn.failure ?? null))
    const { tenant, agent } = session.record
    const entered = gate.enter(tenant, cancelled.signal, { agent, worker: () => session.worker })
    // Asked again after the wait, the gate knows no reason any more.
    const reason = gate.waitingFor(tenant)
    turn.phases.enter('queued', () => gate.waitingFor(tenant) ?? reason)
    return entered
  }

  async #runOn(session: ActiveSession, worker: Worker, warmth: Warmth, turn: RunningTurn): Promise<void> {
    const ended = (): boolean => turn.state === 'ended'
    try {
      if (!ended()) await Promise.all([this.#begin(session, worker, turn), worker.prepare(turn)])
      if (!ended()) await turn.prepare(worker)
      if (ended()) return
      this.#recordStart(session, worker, warmth, turn)
      await turn.run(worker, warmth, session.takeReminders())
      await turn.ended
    } finally {
      // A turn that ended by its result has given the worker back; any other left it with its work in it.
      if (worker.state === 'busy') {
        if (turn.warmth === undefined) worker.release()
        else void worker.close('unresponsive')
      }
    }
    await this.#recordResult(session, turn)
  }

  /** From here on the prompt may have run: the conversation is resumed ever after, also by another host. */
  async #begin(session: ActiveSession, worker: Worker, turn: RunningTurn): Promise<void> {
    const { checkout, transcripts } = this.#context
    turn.phases.enter('prompt', 'unprompted work')
    // What the agent said unprompted comes before the prompt.
    for (let end = session.unprompted?.end(); end !== undefined; end = session.unprompted?.end()) await end
    worker.attend()
    turn.phases.enter('saving')
    await Promise.all([
      checkout.keepWorkspace(session),
      turn.record?.begin(),
      session.live.markBegun(),
      transcripts.begin(worker),
    ])
    turn.phases.enter('prompt')
  }

  /** The worker has all that it needs for the turn, and is about to get the prompt. */
  #recordStart(session: ActiveSession, worker: Worker, warmth: Warmth, turn: RunningTurn): void {
    const { emitter, transcripts, ledger, fleet } = this.#context
    turn.confirmWith(() => transcripts.confirm(worker))
    worker.recordWarmth(warmth)
    fleet.residents.turnStarted(session.ref)
    emitter.tell('turn.started', { id: turn.id, session: session.ref, worker: worker.id, warmth })
    ledger.begin(turn, worker, session.record)
  }

  async #recordResult(session: ActiveSession, turn: RunningTurn): Promise<void> {
    if (turn.resultMessage !== undefined) await session.live.recordTurn()
  }

  #recordEnd(turn: RunningTurn, startedAt: number): void {
    const { clock, fleet } = this.#context
    // One that found no worker says nothing about how long turns take.
    if (turn.warmth !== undefined) fleet.gate.recordTurn(clock.now() - startedAt)
  }

  #report(session: ActiveSession, turn: RunningTurn): void {
    const { clock, emitter, fleet, ledger } = this.#context
    const { failure, phases, firstMessageMs } = turn
    // One that found no worker has not changed what the session was doing.
    if (turn.warmth !== undefined) fleet.residents.turnEnded(session.ref)
    // A turn that ended before its prompt was read says nothing about that.
    if (turn.warmth === 'thawed' && firstMessageMs !== undefined)
      fleet.residents.workerThawed(session.ref.agent, phases.times.starting + phases.times.prompt)
    if (failure instanceof CapacityError)
      emitter.tell('turn.refused', { id: turn.id, session: session.ref, error: failure })
    emitter.tell('turn.ended', {
      id: turn.id,
      session: session.ref,
      worker: turn.workerId,
      warmth: turn.warmth,
      outcome: outcomeOf(turn),
      durationMs: phases.totalMs,
      firstMessageMs,
      usage: ledger.usageOf(turn),
      phases: phases.times,
      tools: phases.tools,
      sdkSessionId: session.record.sdkSessionId,
      steps: phases.steps,
      traceparent: turn.traceparent,
      startedAt: Math.round(clock.wall() - phases.totalMs),
    })
  }
}

/** The session's options are another agent's from this turn on. */
async function useAgent(session: ActiveSession, agent: string): Promise<void> {
  if (session.record.agent === agent) return
  session.live.recordAgent(agent)
  if (session.record.begun) await session.live.save()
}
