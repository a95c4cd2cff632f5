import type { Clock } from '../clock.ts'
import type { Driver, ResumeLoad, SDKUserMessage } from '../driver/driver.ts'
import { FilesError, ResumeError, TurnTimeoutError } from '../errors.ts'
import type { Places, SessionRecord } from '../store/store.ts'
import { formatDuration, formatSize } from '../units.ts'
import type { Worker } from '../worker/worker.ts'
import type { UsageLedger } from '../usage/usage-ledger.ts'
import type { ActiveSession } from './active-session.ts'
import type { PoolEmitter } from '../events.ts'
import type { Gate } from '../admission/gate.ts'
import type { Agents } from '../agents/catalogue.ts'
import { RunningTurn } from '../turns/running-turn.ts'
import type { TurnWorker } from '../turns/turn-worker.ts'
import type { TurnLimits } from '../options/limits.ts'

export interface CompactionContext {
  clock: Clock
  driver: Driver
  emitter: PoolEmitter
  gate: Gate
  ledger: UsageLedger
  agents: Agents
  places: Places
  /** What a resume may have to load, and the limits of turns whose agents have none of their own. */
  limits: TurnLimits & { resumeSizeBytes: number }
}

const COMPACT: SDKUserMessage = {
  type: 'user',
  message: { role: 'user', content: '/compact' },
  parent_tool_use_id: null,
}

/** The summary of the largest context takes minutes. */
const COMPACTION_TIME_MS = 10 * 60_000

/** The CLI keeps the last answer as it is, and sums it up when it is asked again. */
const MAX_COMPACTIONS = 2

/** What happens to conversations that have grown too large to be resumed. */
export class Compaction {
  readonly #context: CompactionContext
  /** Workers that have resumed a conversation which is small enough. */
  readonly #settled = new WeakSet<Worker>()
  /** Workers that could not make theirs small enough. */
  readonly #givenUp = new WeakSet<Worker>()
  /** Up to so many bytes of its transcript the conversation of a worker is small enough. */
  readonly #room = new WeakMap<Worker, { conversation: string | undefined; fileBytes: number }>()

  constructor(context: CompactionContext) {
    this.#context = context
  }

  /** Throws ResumeError for a conversation that is too large, unless its agent has it compacted: a process is needed for that. */
  async checkStart(record: SessionRecord): Promise<void> {
    if (this.#mayCompact(record)) return
    const load = await this.#excess(record)
    if (load === undefined) return
    throw new ResumeError(`${this.#sizes(load)}, and its agent does not have it compacted (onLargeTranscript)`)
  }

  /**
   * Before the first turn of a process that has resumed a conversation: compacts what is too large. Undefined when there is
   * nothing to wait for. Rejects with ResumeError when it is too large still; nothing of it is lost.
   */
  beforeTurn(conversation: ActiveSession, worker: Worker, turn: RunningTurn): Promise<void> | undefined {
    const isFirst = worker.resumed && worker.turns === 0 && !this.#settled.has(worker)
    if (!isFirst || turn.state === 'ended' || !this.#mayCompact(conversation.record)) return undefined
    return this.#beforeTurn(conversation, worker, turn)
  }

  /** Compacts what is too large while its process has it in memory, unless a turn waits. A failure is retried at the next start. */
  async afterTurn(conversation: ActiveSession, worker: Worker): Promise<void> {
    const { record } = conversation
    if (this.#givenUp.has(worker)) return
    try {
      if (!this.#mayCompact(record)) return
      const load = await this.#excess(record, worker)
      if (load === undefined || conversation.running !== undefined) return
      if (!isFree(worker) || worker.pin !== undefined) return
      const permit = this.#context.gate.enterIfFree(record.tenant, { agent: record.agent, worker: () => worker })
      if (permit === undefined) return
      try {
        await this.#shrink(conversation, worker, load)
      } finally {
        permit.release()
      }
    } catch (error) {
      this.#givenUp.add(worker)
      if (conversation.gone !== undefined) return
      this.#context.emitter.tell('warning', {
        message: `session "${record.key}" has outgrown limits.resumeSize and was not compacted`,
        error,
      })
    }
  }

  async #beforeTurn(conversation: ActiveSession, worker: Worker, turn: RunningTurn): Promise<void> {
    const load = await this.#excess(conversation.record, worker)
    try {
      if (load !== undefined) {
        if (!isFree(worker)) return
        turn.phases.enter('starting', 'compaction')
        await this.#shrink(conversation, worker, load, turn.ended)
        turn.phases.enter('starting')
      }
      this.#settled.add(worker)
    } catch (error) {
      // The cancelled turn has ended by itself.
      if (turn.state === 'ended' || load === undefined) return
      const why =
        error instanceof TurnTimeoutError
          ? `it took longer than ${formatDuration(error.limitMs)}`
          : (error as Error).message
      throw new ResumeError(
        `${this.#sizes(load)}, and could not be compacted: ${why}; nothing of it is lost: try again, raise the limit, or delete the session`,
        { cause: error },
      )
    }
  }

  #mayCompact({ agent }: SessionRecord): boolean {
    const { agents, limits } = this.#context
    return Number.isFinite(limits.resumeSizeBytes) && agents.of(agent).onLargeTranscript === 'compact'
  }

  #sizes({ bytes }: ResumeLoad): string {
    const { resumeSizeBytes } = this.#context.limits
    return `the transcript has ${formatSize(bytes)} to resume, more than limits.resumeSize (${formatSize(resumeSizeBytes)})`
  }

  /** What there is to load, where that is more than the limit. */
  async #excess(record: SessionRecord, worker?: Worker): Promise<ResumeLoad | undefined> {
    const { resumeSizeBytes } = this.#context.limits
    if (!Number.isFinite(resumeSizeBytes)) return undefined
    const room = worker === undefined ? undefined : this.#room.get(worker)
    const isKnown = room !== undefined && room.conversation === record.sdkSessionId
    const load = await this.#load(record, isKnown ? room.fileBytes : resumeSizeBytes)
    if (load === undefined || load.bytes > resumeSizeBytes) return load
    // A whole file need not be read after every turn.
    const fileBytes = load.fileBytes + resumeSizeBytes - load.bytes
    if (worker !== undefined) this.#room.set(worker, { conversation: record.sdkSessionId, fileBytes })
    return undefined
  }

  async #load(record: SessionRecord, above: number): Promise<ResumeLoad | undefined> {
    const { tenant, cwd, sdkSessionId: sessionId } = record
    if (cwd === undefined || sessionId === undefined) return undefined
    const { configDir, tmpDir } = await this.#context.places.makePlaces(tenant)
    return this.#context.driver.resumeLoad({ configDir, tmpDir, cwd, sessionId }, above).catch((error: unknown) => {
      if (!(error instanceof FilesError)) throw error
      throw new ResumeError(`its transcript cannot be used: ${error.message}`, { cause: error })
    })
  }

  /** Compacts until it is small enough. Throws what kept it from that. */
  async #shrink(
    conversation: ActiveSession,
    worker: Worker,
    load: ResumeLoad,
    cancelled?: Promise<void>,
  ): Promise<void> {
    let left = load
    worker.reserve()
    try {
      for (let compactions = 0; left.bytes > this.#context.limits.resumeSizeBytes; compactions += 1) {
        if (left.summedUp || compactions === MAX_COMPACTIONS) throw new Error('a summary of it is as large')
        left = await this.#compact(conversation, worker, left, cancelled)
      }
    } finally {
      worker.unreserve()
    }
  }

  /** Has the process put a summary in the place of its conversation; resolves with what a resume would load then. */
  async #compact(
    conversation: ActiveSession,
    worker: Worker,
    before: ResumeLoad,
    cancelled?: Promise<void>,
  ): Promise<ResumeLoad> {
    const { clock, ledger, emitter } = this.#context
    const startedAt = clock.now()
    const turn = this.#newTurn(conversation.record.agent)
    worker.begin({
      accept: (message) => {
        turn.accept(message)
        return false
      },
      workerEnded: (exit, reason, verdict) => turn.workerEnded(exit, reason, verdict),
    })
    conversation.recordCompaction(turn)
    ledger.begin(turn, worker, conversation.record)
    void cancelled?.then(() => turn.interrupt())
    try {
      await Promise.all([reportOf(turn), turn.run(asCommand(worker), 'live')])
    } finally {
      conversation.recordCompaction(undefined)
      if (turn.resultMessage === undefined) void worker.close('unresponsive')
      else worker.release()
      await conversation.recordUsage()
    }
    // The CLI has written all of it before it tells the result.
    const after = await this.#load(conversation.record, 0)
    if (after === undefined || after.compaction === before.compaction) throw new Error('its transcript has no summary')
    await conversation.journal
      ?.append([{ type: 'agent.thread_context_compacted' }])
      .catch((error: unknown) => emitter.tell('warning', { message: 'a compaction is not in the events', error }))
    emitter.tell('session.compacted', {
      session: conversation.ref,
      worker: worker.id,
      beforeBytes: before.bytes,
      afterBytes: after.bytes,
      durationMs: clock.now() - startedAt,
      usage: ledger.usageOf(turn),
    })
    return after
  }

  #newTurn(agent: string): RunningTurn {
    const { clock, limits, agents } = this.#context
    const { turnTimeoutMs, inactivityTimeoutMs } = { ...limits, ...agents.of(agent).limits }
    const bounded = { turnTimeoutMs: Math.min(turnTimeoutMs, COMPACTION_TIME_MS), inactivityTimeoutMs }
    return new RunningTurn(COMPACT, { clock, limits: bounded, onLeave: 'detach' })
  }
}

const isFree = ({ state, process }: Worker): boolean => state === 'idle' && process.alive

/** Resolves when the process has compacted; throws what it says where it has not. */
async function reportOf(turn: RunningTurn): Promise<void> {
  let compacted = false
  let problem: string | undefined
  for await (const message of turn) {
    if (message.type !== 'system') continue
    if (message.subtype === 'compact_boundary') compacted = true
    else if (message.subtype === 'status') problem ??= message.compact_error
  }
  if (!compacted) throw new Error(problem ?? 'its process found nothing to sum up')
}

/** The worker, as one that takes what it is sent for a command. */
const asCommand = (worker: Worker): TurnWorker => ({
  id: worker.id,
  process: worker.process,
  get openPermissionRequests() {
    return worker.openPermissionRequests
  },
  get lastAnswerAt() {
    return worker.lastAnswerAt
  },
  send: (message) => worker.process.command(message),
  close: (reason) => worker.close(reason),
})
