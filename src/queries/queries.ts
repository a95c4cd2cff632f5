import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver, SDKUserMessage } from '../driver/driver.ts'
import { ConfigError, ResumeError, SessionBusyError, SessionConflictError } from '../errors.ts'
import type { SessionRecord, Store } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import type { Agent, AgentOptions } from '../agents/agent.ts'
import { calendarOf } from '../calendar.ts'
import type { PoolEmitter } from '../events.ts'
import type { ActiveSession, Origin } from '../sessions/active-session.ts'
import type { QueryHost, QuerySession } from './query.ts'
import type { QueryPlan } from './query-options.ts'
import { existingDirectory, newRecord, sessionGone } from '../sessions/session-record.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { RunningTurn } from '../turns/running-turn.ts'
import { usageFrom } from '../usage/usage.ts'
import { isOfQuery } from '../agents/catalogue.ts'
import type { Agents } from '../agents/catalogue.ts'

const PAGE = 200

/** Whose sessions the sessions of queries are. */
const TENANT = 'default'

type Resume = Extract<QueryPlan['start'], { kind: 'resume' }>

export interface QueriesContext {
  clock: Clock
  store: Store
  sessions: Sessions
  agents: Agents
  driver: Pick<Driver, 'abortError'>
  emitter: PoolEmitter
}

/** The sessions and agents of `pool.query()`. */
export class Queries implements QueryHost {
  readonly #context: QueriesContext
  /** What keeps the conversations of open queries from being forgotten. */
  readonly #held = new WeakMap<QuerySession, Disposable>()

  constructor(context: QueriesContext) {
    this.#context = context
  }

  aborted(message: string): Error {
    return this.#context.driver.abortError(message)
  }

  warn(message: string, error: unknown): void {
    this.#context.emitter.tell('warning', { message, error })
  }

  async open(plan: QueryPlan): Promise<QuerySession> {
    this.#context.sessions.active.checkOpen()
    const session = await (plan.start.kind === 'new'
      ? this.#begin(plan, plan.start.sessionId)
      : this.#resume(plan, plan.start))
    const held = this.#context.sessions.active.hold(session.conversation)
    try {
      // Before it has the query's options: a claim reads the session as its last owner left it.
      await session.conversation.own()
    } catch (error) {
      held[Symbol.dispose]()
      throw error
    }
    this.#held.set(session, held)
    return session
  }

  send(
    { conversation, agent }: QuerySession,
    message: SDKUserMessage,
    onWorker: (worker: Worker) => Promise<void>,
  ): RunningTurn {
    return this.#context.sessions.turns.sendForQuery(conversation, message, (turn) => turn.runFor({ agent, onWorker }))
  }

  async worker({ conversation, agent }: QuerySession): Promise<Worker> {
    if (agent !== undefined && conversation.running === undefined) conversation.live.recordAgent(agent)
    return this.#context.sessions.workerOf(conversation)
  }

  async end(session: QuerySession, keep: { process: boolean }): Promise<void> {
    const { conversation } = session
    const { stored } = this.#context.sessions
    try {
      const unused = session.fresh && !conversation.record.begun
      if (conversation.ephemeral || unused) await stored.erase(conversation)
      else if (!keep.process) await hibernateIfIdle(conversation)
    } finally {
      this.#held.get(session)?.[Symbol.dispose]()
    }
  }

  async #begin(
    plan: QueryPlan,
    sessionId: string | undefined,
    origin?: Origin,
    from?: SessionRecord,
  ): Promise<QuerySession> {
    const { sessions, clock, store } = this.#context
    const agent = this.#agentOf(plan.agent)
    const cwd = from?.cwd ?? (await existingDirectory(plan.cwd ?? '.'))
    if (sessionId !== undefined && (await store.findBySdkSessionId(sessionId)) !== undefined)
      throw new SessionConflictError(`the session ID ${sessionId} is already in use; resume it, or choose another`)
    const record = newRecord(
      { tenant: from?.tenant ?? TENANT, key: `query:${randomUUID()}`, agent: agent.name, cwd },
      calendarOf(clock).latest,
    )
    if (from !== undefined) record.usage = { ...usageFrom(clock.wall()), ...totalsOf(from) }
    // A spare has an id and a beginning of its own.
    const special = sessionId !== undefined || origin !== undefined
    if (special) record.sdkSessionId = sessionId ?? randomUUID()
    const conversation = sessions.active.beginQuery(record, {
      ephemeral: !plan.persist,
      origin: special ? (origin ?? {}) : undefined,
    })
    return { conversation, agent: agent.name, fresh: true }
  }

  async #resume(plan: QueryPlan, start: Resume): Promise<QuerySession> {
    const record = await this.#find(plan, start)
    if (record === undefined) return this.#begin(plan, start.sessionId)
    await checkCwd(record, plan.cwd)
    if (!isOfQuery(record)) return this.#resumeAgents(plan, start, record)
    const { sessionId, at, dropsTurn } = start
    const point = { ...(at === undefined ? {} : { at }), ...(dropsTurn === undefined ? {} : { dropsTurn }) }
    // What is not to be kept must not change what is.
    if (start.fork || !plan.persist)
      return this.#begin(plan, sessionId, { ...point, of: record.sdkSessionId as string }, record)
    return this.#goOn(record, point, this.#agentOf(plan.agent).name)
  }

  /** A session of one of the pool's agents, whose options are not the query's to say. */
  async #resumeAgents(plan: QueryPlan, { fork, sessionId, at }: Resume, record: SessionRecord): Promise<QuerySession> {
    const { sessions } = this.#context
    const [other] = Object.keys(plan.agent)
    const none = plan.persist ? (fork ? { sessionId, resumeSessionAt: at } : {}) : { persistSession: false }
    const refused = other ?? Object.entries(none).find(([, value]) => value !== undefined)?.[0]
    if (refused !== undefined) throw ofAgent(refused, record)
    if (!fork) return this.#goOn(record, at === undefined ? {} : { at }, undefined)
    const { tenant, key } = await sessions.handle(record).fork(`query:${randomUUID()}`)
    const conversation = await sessions.active.load({ tenant, key })
    if (conversation === undefined) throw sessionGone(key, 'session_deleted')
    return { conversation, agent: undefined, fresh: false }
  }

  async #goOn(record: SessionRecord, point: Origin, agent: string | undefined): Promise<QuerySession> {
    const { sessions } = this.#context
    if (point.at !== undefined) await sessions.handle(record).hibernate()
    const conversation = await sessions.active.find(record)
    if (point.at !== undefined) conversation.beginFrom(point)
    return { conversation, agent, fresh: false }
  }

  /** Undefined: there is nothing to go on with. Throws ResumeError for an id that this pool does not know. */
  async #find({ cwd }: QueryPlan, { from }: Resume): Promise<SessionRecord | undefined> {
    if (from === undefined) return this.#newest(await existingDirectory(cwd ?? '.'))
    const record = await this.#context.store.findBySdkSessionId(from)
    const current = record === undefined ? undefined : (this.#context.sessions.active.get(record)?.record ?? record)
    if (current !== undefined && (current.begun || !isOfQuery(current))) return current
    throw new ResumeError(
      `this pool has no session with the SDK id ${from}: it was begun elsewhere, was not to be kept, or its retention is over`,
    )
  }

  /** The session of a query that was used last in this directory. */
  async #newest(cwd: string): Promise<SessionRecord | undefined> {
    const { store, sessions } = this.#context
    let newest: SessionRecord | undefined
    let after: SessionRecord | undefined
    for (;;) {
      const page = await store.list({ tenant: TENANT, limit: PAGE, ...(after === undefined ? {} : { after }) })
      for (const stored of page) {
        const record = sessions.active.get(stored)?.record ?? stored
        if (!isOfQuery(record) || record.cwd !== cwd || !record.begun) continue
        if (newest === undefined || record.lastUsedAt > newest.lastUsedAt) newest = record
      }
      after = page.at(-1)
      if (page.length < PAGE) return newest
    }
  }

  #agentOf(options: AgentOptions): Agent {
    const { agents, sessions } = this.#context
    return agents.adHoc(options, (name) => sessions.active.uses(name))
  }
}

/** Ends the process of a session, unless a turn of another caller uses it. */
async function hibernateIfIdle(session: ActiveSession): Promise<void> {
  await session.hibernate().catch((error: unknown) => {
    if (!(error instanceof SessionBusyError)) throw error
  })
}

/** What the conversation that a fork begins as has told of its use: the fork's processes go on from there. */
const totalsOf = ({ usage }: SessionRecord): Partial<NonNullable<SessionRecord['usage']>> =>
  usage === undefined ? {} : { reported: usage.saved, saved: usage.saved }

/** A session stays where it is: its transcript, its workspace and its forks belong there. */
async function checkCwd(record: SessionRecord, cwd: string | undefined): Promise<void> {
  if (cwd === undefined) return
  const asked = await existingDirectory(cwd)
  if (asked === record.cwd) return
  throw new SessionConflictError(
    `the session runs in ${record.cwd ?? 'a workspace of its own'}, not in ${asked}; leave cwd out`,
  )
}

/** The options of a session that no query has begun are those of its agent: an id is not enough to change them. */
const ofAgent = (option: string, { key, agent }: SessionRecord): ConfigError =>
  new ConfigError(
    `options.${option}`,
    `cannot stand beside resume here: session "${key}" has the options of its agent "${agent}"`,
  )
