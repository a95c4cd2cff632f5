import { basename, join } from 'node:path'
import type { Permit } from '../admission/gate.ts'
import type { Agent } from '../agents/agent.ts'
import type { Agents } from '../agents/catalogue.ts'
import { BindRefusedError, RepairedStartError } from '../driver/driver.ts'
import type { StartMode } from '../driver/driver.ts'
import { ResumeError, StartError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { SpareGroup } from '../fleet/spares.ts'
import type { StartPriority } from '../fleet/start-queue.ts'
import { madeAgain } from '../fleet/working-directory.ts'
import type { Places, TenantPlaces } from '../store/store.ts'
import type { RunningTurn } from '../turns/running-turn.ts'
import type { TurnPhases } from '../turns/turn-phases.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import { warmthOf } from '../worker/warmth.ts'
import type { Warmth } from '../worker/warmth.ts'
import type { Worker } from '../worker/worker.ts'
import type { ActiveSession } from './active-session.ts'
import type { Compaction } from './compaction.ts'
import { isElsewhere } from './session-files.ts'
import type { TranscriptCopies } from './transcript-copies.ts'

export interface CheckoutContext {
  fleet: Fleet
  agents: Agents
  emitter: PoolEmitter
  transcripts: TranscriptCopies
  compaction: Compaction
  ledger: UsageLedger
  places: Places
}

/** What a start is for: a turn that waits, or a worker asked for ahead of one. */
interface Need {
  permit: Permit
  priority: Exclude<StartPriority, 'spare'>
  /** Of the turn that waits. */
  phases?: TurnPhases
}

/** A start of a session's worker. */
interface Start extends Need {
  agent: Agent
  fingerprint: string
}

/** Gives a session its worker, warmest first: its own, a spare, or one that is started. */
export class Checkout {
  readonly #context: CheckoutContext

  constructor(context: CheckoutContext) {
    this.#context = context
  }

  /** The worker that runs this turn, and has room to grow. Unless the turn has ended meanwhile, it is claimed by the turn. */
  async forTurn(
    session: ActiveSession,
    permit: Permit,
    turn: RunningTurn,
  ): Promise<{ worker: Worker; warmth: Warmth }> {
    const before = session.worker
    // A start takes its time: what is to come is acknowledged before.
    if (before?.state !== 'idle' && before?.state !== 'frozen') void turn.record?.accept()
    const worker = await this.#readyForTurn(session, permit, turn)
    const warmth = warmthOf(worker, before)
    // Cancelling a wait does not cancel a start: the worker stays, for the session's next turn.
    const claimed = turn.state !== 'ended'
    if (claimed) worker.claim(turn)
    worker.unreserve()
    if (!claimed) return { worker, warmth }
    try {
      await this.#context.fleet.placement.makeRoomToGrow()
    } catch (error) {
      worker.release()
      throw error
    }
    return { worker, warmth }
  }

  /** A turn has ended with a result, and has given its worker back. */
  async afterTurn(session: ActiveSession, worker: Worker): Promise<void> {
    await this.#context.compaction.afterTurn(session, worker)
  }

  isSandboxed(agent: string): boolean {
    return !this.#context.fleet.starter.startsUnbound(this.#context.agents.of(agent))
  }

  /** Brings a session's worker up ahead of its next message. */
  async warm(session: ActiveSession): Promise<void> {
    await session.own()
    const permit = this.#context.fleet.gate.permitStart(session.record.tenant)
    try {
      const worker = await this.#ready(session, { permit, priority: 'ahead' })
      // It is the session's from here on, and leaves like any other if no turn comes to use it.
      worker.unreserve()
      await session.saveIdentity()
      if (worker.turns === 0) await worker.process.prepare()
      // What it needs to answer comes back from the swap.
      else if (worker.wasFrozen) await worker.process.probe().catch(() => undefined)
    } finally {
      permit.release()
    }
  }

  /** Brings a session here whose conversation and workspace another host had. */
  async fetch(session: ActiveSession): Promise<void> {
    if (isElsewhere(session.record, this.#context.places)) await this.warm(session)
  }

  /**
   * The workspace that the pool has made for a session, or makes now; undefined for a session that works in a directory of its
   * caller or agent.
   */
  async workspace(session: ActiveSession): Promise<string | undefined> {
    const { agents, fleet, places } = this.#context
    await session.own()
    await this.fetch(session)
    // Its first process may bring one along.
    await session.opening?.catch(() => undefined)
    const tenantPlaces = await places.makePlaces(session.record.tenant)
    const { cwd: directory } = agents.of(session.record.agent).options
    await session.live.settleIdentity(directory, (id) => fleet.starter.makeWorkspace(tenantPlaces, id))
    const { cwd, ownsCwd, begun } = session.record
    if (cwd === undefined || !ownsCwd) return undefined
    if ((await fleet.starter.prepareCwd({ cwd, ownsCwd })) && begun) this.#recordMadeAgain(session, cwd)
    await session.live.save()
    return cwd
  }

  /** Makes the workspace of a live process again if an agent of the tenant has removed it. */
  async keepWorkspace(session: ActiveSession): Promise<void> {
    const { ownsCwd, cwd, begun } = session.record
    if (!ownsCwd || cwd === undefined) return
    // If it cannot be made, the process reports that itself.
    const isNew = await this.#context.fleet.starter.prepareCwd({ cwd, ownsCwd }).catch(() => false)
    if (isNew && begun) this.#recordMadeAgain(session, cwd)
  }

  #recordMadeAgain(session: ActiveSession, cwd: string): void {
    const { key } = session.record
    session.remind(madeAgain(cwd))
    const message = `the workspace of session "${key}" was gone and was made again, empty`
    this.#context.emitter.tell('warning', { message, error: undefined })
  }

  async #readyForTurn(session: ActiveSession, permit: Permit, turn: RunningTurn): Promise<Worker> {
    for (;;) {
      const worker = await this.#ready(session, { permit, priority: 'turn', phases: turn.phases })
      const compacted = this.#context.compaction.beforeTurn(session, worker, turn)
      if (compacted === undefined) return worker
      try {
        // It may have left meanwhile.
        await compacted
      } finally {
        worker.unreserve()
      }
    }
  }

  /** The session's own worker, idle and reserved for the caller; started if there is none. */
  async #ready(session: ActiveSession, need: Need): Promise<Worker> {
    const agent = this.#context.agents.of(session.record.agent)
    const start = { ...need, agent, fingerprint: this.#context.agents.fingerprintOf(agent, session.record.tenant) }
    let opened: Worker | undefined
    try {
      for (;;) {
        const { worker } = session
        if (session.opening !== undefined) {
          if (need.priority === 'turn') this.#context.fleet.launcher.promote(session)
          await session.opening
        } else if (worker === undefined) {
          opened?.unreserve()
          opened = undefined
          opened = await session.open(() => this.#open(session, start))
        } else if (worker.state === 'frozen' && worker.process.alive) {
          worker.thaw()
        } else if (worker.state === 'idle' && worker.process.alive && worker.fingerprint === start.fingerprint) {
          worker.reserve()
          return worker
        } else {
          await worker.close(worker.process.alive ? 'fingerprint' : 'exited')
          session.drop(worker)
        }
      }
    } finally {
      opened?.unreserve()
    }
  }

  /** A worker for the session, reserved. */
  async #open(session: ActiveSession, start: Start): Promise<Worker> {
    const { record } = session
    if (record.begun || session.origin !== undefined) return this.#launch(session, start)
    const { agent, fingerprint } = start
    const group: SpareGroup = {
      agent,
      tenant: record.tenant,
      fingerprint,
      kind: record.cwd === undefined || record.cwd === agent.options.cwd ? 'spare' : 'unbound',
    }
    this.#context.fleet.spares.recordArrival(group)
    const spare = await this.#takeSpare(session, group)
    return spare ?? (await this.#launch(session, start, group))
  }

  async #takeSpare(session: ActiveSession, group: SpareGroup): Promise<Worker | undefined> {
    const { fleet } = this.#context
    const { record } = session
    const worker = fleet.spares.take(group)
    if (worker === undefined) return undefined
    try {
      session.lend(worker)
      await worker.bind(session, group.kind === 'unbound' ? record.cwd : undefined)
    } catch (error) {
      session.drop(worker)
      await worker.close('bind_refused')
      // Whatever the reason, no prompt was sent: a plain start serves the conversation, or says what is wrong with it.
      if (error instanceof BindRefusedError) return undefined
      throw error
    }
    const { sdkSessionId, cwd, ownsCwd } = worker
    // Made durable with what the caller has to note besides: a turn pays for one write, and not for two.
    session.live.identify({ sdkSessionId, cwd, ownsCwd })
    fleet.bound(worker)
    return worker
  }

  async #launch(session: ActiveSession, start: Start, group?: SpareGroup): Promise<Worker> {
    const { launcher, starter } = this.#context.fleet
    starter.checkBackoff(start.agent, start.fingerprint, session.record)
    start.phases?.enter('starting', 'other starts')
    const begin = async (): Promise<Worker> => {
      start.phases?.enter('starting')
      // A spare may have become ready while this start waited for its turn.
      const spare = group === undefined ? undefined : await this.#takeSpare(session, group)
      if (spare !== undefined) return spare
      try {
        return await this.#start(session, start)
      } catch (error) {
        if (!this.#correct(session, start.agent, error)) throw session.origin === undefined ? advised(error) : error
        return this.#start(session, start)
      }
    }
    return launcher.launch(start.permit, start.priority, begin, session)
  }

  async #start(session: ActiveSession, start: Start): Promise<Worker> {
    const { fleet, places } = this.#context
    // While the start waited for others, the lease of this host may have run out.
    if (!session.owned) await session.own()
    const tenantPlaces = await places.makePlaces(session.record.tenant)
    const mode = await this.#prepare(session, start.agent, tenantPlaces)
    const worker = await fleet.placement.place(start.agent.name, start.priority, () =>
      this.#make(session, start, mode, tenantPlaces),
    )
    try {
      await fleet.starter.open(worker)
    } catch (error) {
      session.drop(worker)
      throw error
    }
    session.settleOrigin()
    return worker
  }

  /** Makes all ready for a process of the session, and says how it is to begin. */
  async #prepare(session: ActiveSession, agent: Agent, places: TenantPlaces): Promise<SessionStart> {
    const { fleet, transcripts, compaction } = this.#context
    const { record } = session
    await this.#bringHere(session, places)
    await session.live.settleIdentity(agent.options.cwd, (id) => fleet.starter.makeWorkspace(places, id))
    const { cwd, sdkSessionId } = record
    if (cwd === undefined || sdkSessionId === undefined) throw new Error(`session "${record.key}" has no identity`)
    if ((await fleet.starter.prepareCwd({ cwd, ownsCwd: record.ownsCwd, owner: places.owner })) && record.begun)
      this.#recordMadeAgain(session, cwd)
    await session.live.save()
    const loaded = { ...record, sdkSessionId: session.origin?.of ?? sdkSessionId }
    const mode = modeOf(session, sdkSessionId)
    if (mode.kind !== 'new') await transcripts.checkResume(loaded, session.ownership)
    if (record.begun) await this.#catchUp(session)
    if (mode.kind !== 'new') await compaction.checkStart(loaded)
    return { mode, cwd }
  }

  /** A workspace that another host made is where that host is: here the session gets one of this host's, and its transcript with it. */
  async #bringHere(session: ActiveSession, { workspaces }: TenantPlaces): Promise<void> {
    const { cwd, ownsCwd } = session.record
    const { transcripts, places } = this.#context
    if (cwd === undefined || !isElsewhere(session.record, places) || !transcripts.areCopied) return
    const place = join(workspaces, basename(cwd))
    // A move that fails is tried again: the record still says where the session was.
    await transcripts.move({ ...session.record, cwd: place }, session.ownership)
    session.live.identify({ cwd: place, ownsCwd, sdkSessionId: session.record.sdkSessionId })
  }

  #make(session: ActiveSession, start: Start, { mode, cwd }: SessionStart, places: TenantPlaces): Worker {
    const { agent, fingerprint, priority } = start
    const worker = this.#context.fleet.starter.start({
      agent,
      tenant: session.record.tenant,
      fingerprint,
      purpose: priority,
      owner: session,
      cwd,
      // The workspace is the session's: it does not go with the worker.
      ownsCwd: false,
      conversation: mode,
      places,
    })
    worker.reserve()
    // At once: from here on the turn that was admitted for it is charged with its worker, and not beside it.
    session.lend(worker)
    return worker
  }

  /** What a host that died could not note of the conversation is noted before its next process goes on. */
  async #catchUp(session: ActiveSession): Promise<void> {
    const { ledger, emitter } = this.#context
    try {
      if (await ledger.catchUp(session.record, { resuming: true })) await session.recordUsage()
    } catch (error) {
      const message = `what session "${session.record.key}" had used could not be read from its transcript`
      emitter.tell('warning', { message, error })
    }
  }

  /** Whether a failed start can be tried once more, in another way that loses nothing. */
  #correct(session: ActiveSession, agent: Agent, error: unknown): boolean {
    const { record } = session
    if (error instanceof RepairedStartError) {
      this.#context.emitter.tell('warning', { message: 'a damaged configuration of the CLI was replaced', error })
      return true
    }
    // What its caller asked for cannot be had: anything else would be another conversation.
    if (session.origin !== undefined) return false
    if (error instanceof StartError && error.message.includes('is already in use')) {
      // The process of a host that died had written its transcript before the host could note it.
      session.live.recordBegun()
      return true
    }
    if (!(error instanceof ResumeError) || !record.begun) return false
    if (record.turns > 0 && agent.onStaleResume === 'error') return false
    if (record.turns > 0) {
      this.#context.emitter.tell('session.restarted', { session: session.ref, lost: record.sdkSessionId ?? '' })
    }
    session.live.beginAnew()
    return true
  }
}

/** How a process of a session begins, and where. */
interface SessionStart {
  mode: Exclude<StartMode, { kind: 'unbound' }>
  cwd: string
}

/** Which conversation the next process of this session holds. */
function modeOf({ record, origin }: ActiveSession, sessionId: string): SessionStart['mode'] {
  if (origin?.of !== undefined && !record.begun) return { ...origin, kind: 'fork', sessionId, of: origin.of }
  return record.begun ? { ...origin, kind: 'resume', sessionId } : { kind: 'new', sessionId }
}

function advised(error: unknown): unknown {
  if (!(error instanceof ResumeError)) return error
  const advice = "delete the session, or let its agent begin anew with onStaleResume: 'fresh'"
  return new ResumeError(`${error.message}; ${advice}`, { cause: error })
}
