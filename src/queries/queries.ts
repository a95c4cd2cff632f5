import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { SDKUserMessage } from '../driver/driver.ts'
import { ConfigError, ResumeError, SessionConflictError } from '../errors.ts'
import type { SessionRecord, Store } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import { readAgent } from '../agents/agent.ts'
import type { Agent, AgentOptions } from '../agents/agent.ts'
import { calendarOf } from '../calendar.ts'
import type { Origin } from '../sessions/active-session.ts'
import { fingerprintOf } from '../agents/fingerprint.ts'
import type { QueryHost, QuerySession } from './query.ts'
import type { QueryPlan } from './query-options.ts'
import { QUERY_AGENT, existingDirectory, isOfQuery, newRecord, sessionGone } from '../sessions/session-record.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { RunningTurn } from '../turns/turn.ts'
import { usageFrom } from '../usage/usage.ts'

/** Agents of queries that are remembered: what reuses their options can reuse their spares. */
const MAX_AGENTS = 100

const PAGE = 200

/** Whose sessions the sessions of queries are. */
const TENANT = 'default'

type Resume = Extract<QueryPlan['start'], { kind: 'resume' }>

export interface QueriesContext {
  clock: Clock
  store: Store
  sessions: Sessions
  /** The agent of this name has other options now, or none. */
  redefine: (name: string) => void
  aborted: (message: string) => Error
  warn: (message: string, error: unknown) => void
}

/** The sessions and agents of `pool.query()`. */
export class Queries implements QueryHost {
  readonly #context: QueriesContext
  readonly #agents = new Map<string, Agent>()
  /** What keeps the conversations of open queries from being forgotten. */
  readonly #held = new WeakMap<QuerySession, Disposable>()

  constructor(context: QueriesContext) {
    this.#context = context
  }

  /** The agent that queries have brought along under this name. */
  agent(name: string): Agent | undefined {
    return this.#agents.get(name)
  }

  aborted(message: string): Error {
    return this.#context.aborted(message)
  }

  warn(message: string, error: unknown): void {
    this.#context.warn(message, error)
  }

  async open(plan: QueryPlan): Promise<QuerySession> {
    this.#context.sessions.active.checkOpen()
    const session = await (plan.start.kind === 'new'
      ? this.#begin(plan, plan.start.sessionId)
      : this.#resume(plan, plan.start))
    this.#held.set(session, this.#context.sessions.active.hold(session.conversation))
    return session
  }

  send(
    { conversation, agent }: QuerySession,
    message: SDKUserMessage,
    onWorker: (worker: Worker) => Promise<void>,
  ): RunningTurn {
    return this.#context.sessions.sendForQuery(conversation, message, (turn) =>
      Object.assign(turn, { agent, onWorker }),
    )
  }

  async worker({ conversation, agent }: QuerySession): Promise<Worker> {
    if (agent !== undefined && conversation.running === undefined) conversation.record.agent = agent
    return this.#context.sessions.workerOf(conversation)
  }

  async end(session: QuerySession, keep: { process: boolean }): Promise<void> {
    const { conversation } = session
    const { kept } = this.#context.sessions
    try {
      const unused = session.fresh && !conversation.record.begun
      if (conversation.ephemeral || unused) await kept.erase(conversation)
      else if (!keep.process) await this.#context.sessions.hibernateIfIdle(conversation)
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
    const { tenant, key } = await sessions.fork(record, `query:${randomUUID()}`)
    const conversation = await sessions.active.load({ tenant, key })
    if (conversation === undefined) throw sessionGone(key, 'session_deleted')
    return { conversation, agent: undefined, fresh: false }
  }

  async #goOn(record: SessionRecord, point: Origin, agent: string | undefined): Promise<QuerySession> {
    const { sessions } = this.#context
    if (point.at !== undefined) await sessions.hibernate(record)
    const conversation = await sessions.active.find(record)
    if (point.at !== undefined) conversation.origin = point
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
    const name = `${QUERY_AGENT}${fingerprintOf(options)}`
    let agent = this.#agents.get(name)
    if (agent === undefined) {
      agent = readAgent(name, options, { ownProcess: true })
      if (this.#agents.size >= MAX_AGENTS) this.#forgetAgent()
      this.#agents.set(name, agent)
    }
    return agent
  }

  /** The oldest that no conversation uses. */
  #forgetAgent(): void {
    for (const name of this.#agents.keys()) {
      if (this.#context.sessions.active.uses(name)) continue
      this.#agents.delete(name)
      this.#context.redefine(name)
      return
    }
  }
}

/** What the conversation that a fork begins as has told of its use: the fork's processes go on from there. */
const totalsOf = ({ usage }: SessionRecord): Partial<NonNullable<SessionRecord['usage']>> =>
  usage === undefined ? {} : { told: usage.saved, saved: usage.saved }

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
