import { randomUUID } from 'node:crypto'
import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import { BindRefusedError, RepairedStartError } from '../driver/driver.ts'
import type { Conversation as ConversationSpec } from '../driver/driver.ts'
import { PoolClosedError, ResumeError, StartError } from '../errors.ts'
import type { Claim, Governor } from '../memory/governor.ts'
import type { TenantPlaces } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import type { Accounts } from '../usage/usage-ledger.ts'
import type { Agent } from '../agents/agent.ts'
import type { Conversation } from './active-session.ts'
import type { PoolEmitter } from '../events.ts'
import type { Gate, Permit } from '../admission/gate.ts'
import type { LargeTranscripts } from './compaction.ts'
import type { Launcher, StartPriority } from '../fleet/start-queue.ts'
import type { Registry } from '../fleet/registry.ts'
import type { Residents } from '../fleet/residents.ts'
import type { SpareGroup, Spares } from '../fleet/spares.ts'
import type { Starter } from '../fleet/starter.ts'
import type { Transcripts } from './transcript-copies.ts'
import type { RunningTurn } from '../turns/turn.ts'
import { madeAgain } from '../fleet/working-directory.ts'
import type { Warmth } from '../worker/warmth.ts'
import { warmthOf } from '../worker/warmth.ts'

export interface DispatchContext {
  clock: Clock
  registry: Registry
  gate: Gate
  governor: Governor
  launcher: Launcher
  starter: Starter
  spares: Spares
  residents: Residents<Worker>
  emitter: PoolEmitter
  accounts: Accounts
  agentOf: (name: string) => Agent
  fingerprintOf: (agent: Agent, tenant: string) => string
  places: (tenant: string) => Promise<TenantPlaces>
  transcripts: Transcripts
  largeTranscripts: LargeTranscripts
  /** A worker exists from now on. */
  started: (worker: Worker) => void
  /** A spare has become a session's. */
  bound: (worker: Worker) => void
}

/** What a start is for: a turn that waits, or a worker asked for ahead of one. */
interface Need {
  permit: Permit
  priority: Exclude<StartPriority, 'spare'>
}

/** Says which worker runs a turn, warmest first, and makes room for it. */
export class Dispatch {
  readonly #context: DispatchContext

  constructor(context: DispatchContext) {
    this.#context = context
  }

  /** Runs one turn from its admission to its end, and gives back what it took on every path. */
  async run(conversation: Conversation, turn: RunningTurn): Promise<void> {
    const { gate, clock } = this.#context
    await useAgent(conversation, turn.agent)
    const cancelled = new AbortController()
    // Without a reason, an error with its stack is made for each turn.
    void turn.ended.then(() => cancelled.abort(turn.failure ?? null))
    const claim: Claim = { agent: conversation.record.agent, worker: () => conversation.worker }
    const permit = await gate.enter(conversation.record.tenant, cancelled.signal, claim)
    // Whoever sees the end of a turn finds its place free.
    turn.onEnd = () => permit.leave()
    const startedAt = clock.now()
    let used: Worker
    try {
      const { worker, warmth } = await this.#acquire(conversation, permit, turn)
      used = worker
      await this.#runOn(conversation, worker, warmth, turn)
    } finally {
      permit.leave()
      await conversation.saveIdentity()
      // One that found no worker says nothing about how long turns take.
      if (turn.warmth !== undefined) gate.noteTurn(clock.now() - startedAt)
    }
    if (turn.resultMessage !== undefined) await this.#context.largeTranscripts.afterTurn(conversation, used)
  }

  /** Brings a session's worker up ahead of its next message. */
  async warm(conversation: Conversation): Promise<void> {
    const permit = this.#context.gate.permitStart(conversation.record.tenant)
    try {
      const worker = await this.#ready(conversation, { permit, priority: 'ahead' })
      // It is the session's from here on, and leaves like any other if no turn comes to use it.
      worker.reserved = false
      await conversation.saveIdentity()
      if (worker.turns === 0) await worker.process.prepare()
    } finally {
      permit.leave()
    }
  }

  /** Takes a place for one more worker and makes it at once; undefined when nothing is free. Evicts nobody. */
  registerIfFree(agent: string, make: () => Worker): Worker | undefined {
    return this.#context.governor.fitsSpare(agent) ? this.#register(make) : undefined
  }

  /**
   * Resolves when the transcript has all that the worker said. Otherwise throws StoreError, and the worker leaves: a process
   * that resumes would not know the rest.
   */
  async confirm(worker: Worker): Promise<void> {
    try {
      await this.#context.transcripts.confirm(worker)
    } catch (error) {
      void worker.leave('transcript')
      throw error
    }
  }

  async #runOn(conversation: Conversation, worker: Worker, warmth: Warmth, turn: RunningTurn): Promise<void> {
    const { emitter, accounts } = this.#context
    const ended = (): boolean => turn.phase === 'ended'
    try {
      if (!ended()) await Promise.all([this.#begin(conversation, worker, turn), worker.prepare(turn)])
      if (!ended()) await turn.onWorker?.(worker)
      if (ended()) return
      turn.onResult = () => this.confirm(worker)
      emitter.tell('turn.started', { id: turn.id, session: conversation.ref, worker: worker.id, warmth })
      accounts.begin(turn, worker, conversation.record)
      await turn.run(worker, warmth, conversation.notices.splice(0))
      await turn.ended
    } finally {
      // A turn that ended by its result has given the worker back; any other left it with somebody's work in it.
      if (worker.state === 'busy') {
        if (turn.warmth === undefined) worker.release()
        else void worker.leave('unresponsive')
      }
    }
    await this.#noteTurn(conversation, turn)
  }

  /** From here on the prompt may have run: the conversation is resumed ever after, also by another host. */
  async #begin(conversation: Conversation, worker: Worker, turn: RunningTurn): Promise<void> {
    const { transcripts } = this.#context
    // What the agent said unprompted comes before the prompt.
    for (let end = conversation.unprompted?.end(); end !== undefined; end = conversation.unprompted?.end()) await end
    worker.attend()
    await Promise.all([
      this.#keepWorkspace(conversation),
      turn.record?.begin(),
      this.#saveBegun(conversation),
      transcripts.begin(worker),
    ])
  }

  /** An agent of the tenant may have removed the workspace of a live process. */
  async #keepWorkspace(conversation: Conversation): Promise<void> {
    const { ownsCwd, cwd, begun } = conversation.record
    if (!ownsCwd || cwd === undefined) return
    // If it cannot be made, the process reports that itself.
    const isNew = await this.#context.starter.prepareCwd({ cwd, ownsCwd }).catch(() => false)
    if (isNew && begun) this.#noteMadeAgain(conversation, cwd)
  }

  #noteMadeAgain(conversation: Conversation, cwd: string): void {
    const { key } = conversation.record
    conversation.notices.push(madeAgain(cwd))
    const message = `the workspace of session "${key}" was gone and was made again, empty`
    this.#context.emitter.tell('warning', { message, error: undefined })
  }

  async #saveBegun(conversation: Conversation): Promise<void> {
    if (conversation.record.begun) return
    conversation.record.begun = true
    try {
      await conversation.save()
    } catch (error) {
      conversation.record.begun = false
      throw error
    }
  }

  async #noteTurn(conversation: Conversation, turn: RunningTurn): Promise<void> {
    if (turn.resultMessage === undefined) return
    conversation.record.turns += 1
    conversation.record.lastUsedAt = calendarOf(this.#context.clock).latest
    await conversation.touch()
  }

  async #acquire(
    conversation: Conversation,
    permit: Permit,
    turn: RunningTurn,
  ): Promise<{ worker: Worker; warmth: Warmth }> {
    const before = conversation.worker
    // A start takes its time: what is to come is acknowledged before.
    if (before?.state !== 'idle') void turn.record?.accept()
    const worker = await this.#readyForTurn(conversation, permit, turn)
    const warmth = warmthOf(worker, before)
    if (turn.phase === 'ended') {
      // Cancelling a wait does not cancel a start: the worker stays, for the session's next turn.
      worker.reserved = false
      return { worker, warmth }
    }
    worker.claim(turn)
    try {
      await this.#makeRoom(() => this.#context.governor.fits)
    } catch (error) {
      worker.release()
      throw error
    }
    return { worker, warmth }
  }

  async #readyForTurn(conversation: Conversation, permit: Permit, turn: RunningTurn): Promise<Worker> {
    for (;;) {
      const worker = await this.#ready(conversation, { permit, priority: 'user' })
      const compacted = this.#context.largeTranscripts.beforeTurn(conversation, worker, turn)
      if (compacted === undefined) return worker
      // It may have left meanwhile.
      await compacted
    }
  }

  /** The session's own worker, idle and reserved for the caller; started if there is none. */
  async #ready(conversation: Conversation, need: Need): Promise<Worker> {
    const agent = this.#context.agentOf(conversation.record.agent)
    const fingerprint = this.#context.fingerprintOf(agent, conversation.record.tenant)
    for (;;) {
      const worker = conversation.worker
      if (conversation.opening !== undefined) {
        if (need.priority === 'user') this.#context.launcher.promote(conversation)
        await conversation.opening
      } else if (worker === undefined) {
        conversation.opening = this.#open(conversation, agent, fingerprint, need).finally(() => {
          conversation.opening = undefined
        })
        await conversation.opening
      } else if (worker.state === 'idle' && worker.process.alive && worker.fingerprint === fingerprint) {
        worker.reserved = true
        return worker
      } else {
        await worker.leave(worker.process.alive ? 'fingerprint' : 'exited')
        if (conversation.worker === worker) conversation.worker = undefined
      }
    }
  }

  async #open(conversation: Conversation, agent: Agent, fingerprint: string, need: Need): Promise<Worker> {
    const { record } = conversation
    if (record.begun || conversation.origin !== undefined) return this.#launch(conversation, agent, fingerprint, need)
    const group: SpareGroup = {
      agent,
      tenant: record.tenant,
      fingerprint,
      kind: record.cwd === undefined || record.cwd === agent.options.cwd ? 'spare' : 'claimable',
    }
    this.#context.spares.noteArrival(group)
    const spare = await this.#takeSpare(conversation, group)
    return spare ?? (await this.#launch(conversation, agent, fingerprint, need, group))
  }

  async #takeSpare(conversation: Conversation, group: SpareGroup): Promise<Worker | undefined> {
    const { spares } = this.#context
    const { record } = conversation
    const worker = spares.take(group)
    if (worker === undefined) return undefined
    try {
      conversation.worker = worker
      if (group.kind === 'claimable' && record.cwd !== undefined) await worker.bind(conversation.ref, record.cwd)
      else worker.session = conversation.ref
    } catch (error) {
      conversation.worker = undefined
      await worker.leave('bind_refused')
      // Whatever the reason, no prompt was sent: a plain start serves the conversation, or says what is wrong with it.
      if (error instanceof BindRefusedError) return undefined
      throw error
    }
    const { sdkSessionId, cwd, ownsCwd } = worker
    // Made durable with what the caller has to note besides: a turn pays for one write, and not for two.
    conversation.identify({ sdkSessionId, cwd, ownsCwd })
    this.#context.bound(worker)
    return worker
  }

  async #launch(
    conversation: Conversation,
    agent: Agent,
    fingerprint: string,
    need: Need,
    group?: SpareGroup,
  ): Promise<Worker> {
    const { launcher, starter } = this.#context
    starter.checkBackoff(agent, fingerprint, conversation.record)
    const start = async (): Promise<Worker> => {
      // A spare may have become ready while this start waited for its turn.
      const spare = group === undefined ? undefined : await this.#takeSpare(conversation, group)
      if (spare !== undefined) return spare
      try {
        return await this.#start(conversation, agent, fingerprint, need)
      } catch (error) {
        if (!this.#correct(conversation, agent, error)) throw conversation.origin === undefined ? advised(error) : error
        return this.#start(conversation, agent, fingerprint, need)
      }
    }
    return launcher.launch(need.permit, need.priority, start, conversation)
  }

  async #start(conversation: Conversation, agent: Agent, fingerprint: string, need: Need): Promise<Worker> {
    const { starter, places } = this.#context
    const { record } = conversation
    const tenantPlaces = await places(record.tenant)
    await this.#settleIdentity(conversation, agent, tenantPlaces)
    const { cwd, sdkSessionId } = record
    if (cwd === undefined || sdkSessionId === undefined) throw new Error(`session "${record.key}" has no identity`)
    if ((await starter.prepareCwd({ cwd, ownsCwd: record.ownsCwd })) && record.begun)
      this.#noteMadeAgain(conversation, cwd)
    await conversation.save()
    const loaded = { ...record, sdkSessionId: conversation.origin?.of ?? sdkSessionId }
    const how = specOf(conversation, sdkSessionId)
    if (how.kind !== 'new') await this.#context.transcripts.checkResume(loaded)
    if (record.begun) await this.#catchUp(conversation)
    if (how.kind !== 'new') await this.#context.largeTranscripts.checkStart(loaded)
    const worker = await this.#place(agent.name, need, () => {
      const started = starter.start({
        agent,
        tenant: record.tenant,
        fingerprint,
        purpose: need.priority === 'user' ? 'turn' : 'warm',
        session: conversation.ref,
        cwd,
        // The workspace is the session's: it does not go with the worker.
        ownsCwd: false,
        conversation: how,
        places: tenantPlaces,
      })
      // At once: from here on the turn that was admitted for it is charged with its worker, and not beside it.
      conversation.worker = started
      return started
    })
    try {
      await starter.open(worker)
    } catch (error) {
      conversation.worker = undefined
      throw error
    }
    conversation.origin = undefined
    return worker
  }

  /** What a host that died could not note of the conversation is noted before its next process goes on. */
  async #catchUp(conversation: Conversation): Promise<void> {
    const { accounts, emitter } = this.#context
    try {
      if (await accounts.catchUp(conversation.record, { resuming: true })) await conversation.noteUsage()
    } catch (error) {
      const message = `what session "${conversation.record.key}" had used could not be read from its transcript`
      emitter.tell('warning', { message, error })
    }
  }

  /** A conversation gets its id and its place before its first process. */
  async #settleIdentity({ record }: Conversation, agent: Agent, places: TenantPlaces): Promise<void> {
    record.sdkSessionId ??= randomUUID()
    if (record.cwd !== undefined) return
    record.cwd = agent.options.cwd ?? (await this.#context.starter.makeWorkspace(places, record.sdkSessionId))
    record.ownsCwd = agent.options.cwd === undefined
  }

  /** Whether a failed start can be tried once more, in another way that loses nothing. */
  #correct(conversation: Conversation, agent: Agent, error: unknown): boolean {
    const { record } = conversation
    if (error instanceof RepairedStartError) {
      this.#context.emitter.tell('warning', { message: 'a damaged configuration of the CLI was replaced', error })
      return true
    }
    // What its caller asked for cannot be had: anything else would be another conversation.
    if (conversation.origin !== undefined) return false
    if (error instanceof StartError && error.message.includes('is already in use')) {
      // The process of a host that died had written its transcript before the host could note it.
      record.begun = true
      return true
    }
    if (!(error instanceof ResumeError) || !record.begun) return false
    if (record.turns > 0 && agent.onStaleResume === 'error') return false
    if (record.turns > 0) {
      this.#context.emitter.tell('session.restarted', { session: conversation.ref, lost: record.sdkSessionId ?? '' })
    }
    Object.assign(record, { begun: false, sdkSessionId: randomUUID(), turns: 0 })
    return true
  }

  #register(make: () => Worker): Worker {
    const { gate, registry, governor, started } = this.#context
    if (gate.draining) throw new PoolClosedError()
    const worker = make()
    registry.add(worker)
    governor.changed(worker)
    started(worker)
    return worker
  }

  /** Makes a worker as soon as there is room for it. Between the look and the deed nobody else can take the place. */
  async #place(agent: string, { priority }: Need, make: () => Worker): Promise<Worker> {
    const fits = (): boolean => this.#context.governor.fitsAnother(agent, priority === 'user' ? 'turn' : 'ahead')
    while (!fits()) await this.#makeRoom(fits)
    return this.#register(make)
  }

  /** Hibernates idle workers until it fits. Nobody left to go: CapacityError. */
  async #makeRoom(fits: () => boolean): Promise<void> {
    const { registry, residents, gate } = this.#context
    while (!fits()) {
      const leaving = [...registry].find(({ state }) => state === 'closing')
      const next = leaving ?? residents.leastMissed()
      if (next === undefined) throw gate.refuse('memory', 'no room for another process, and none that could leave')
      await next.leave('room')
    }
  }
}

/** The session's options are another agent's from this turn on. */
async function useAgent(conversation: Conversation, agent: string | undefined): Promise<void> {
  if (agent === undefined || conversation.record.agent === agent) return
  conversation.record.agent = agent
  if (conversation.record.begun) await conversation.save()
}

/** Which conversation the next process of this one holds. */
function specOf({ record, origin }: Conversation, sessionId: string): Exclude<ConversationSpec, { kind: 'parked' }> {
  if (origin?.of !== undefined && !record.begun) return { ...origin, kind: 'fork', sessionId, of: origin.of }
  return record.begun ? { ...origin, kind: 'resume', sessionId } : { kind: 'new', sessionId }
}

function advised(error: unknown): unknown {
  if (!(error instanceof ResumeError)) return error
  const advice = "delete the session, or let its agent begin anew with onStaleResume: 'fresh'"
  return new ResumeError(`${error.message}; ${advice}`, { cause: error })
}
