import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { toolUseEventId } from '../index.ts'
import type { AgentOptions, PoolCanUseTool, PoolOnElicitation, SessionRef } from '../index.ts'
import type { Logger } from '../telemetry/log.ts'
import { formatDuration } from '../units.ts'
import { checkOptions } from '../options/unknown.ts'
import { keepNewest } from '../newest.ts'

/**
 * What an agent waits for: permission to use a tool, an answer to `AskUserQuestion`, what an MCP server wants to know,
 * or the result of a tool that the client executes.
 */
export interface Question {
  readonly id: string
  readonly kind: 'permission' | 'question' | 'elicitation' | 'tool_call'
  readonly session: SessionRef
  /** For people. */
  readonly message: string
  /** The tool call that waits; undefined for an elicitation. */
  readonly tool: { id: string; name: string; input: Record<string, unknown> } | undefined
  /** What an answer may carry as its `content`, as JSON Schema; undefined: nothing. */
  readonly schema: Record<string, unknown> | undefined
  /** Milliseconds since the epoch. */
  readonly askedAt: number
  /** When it is a no by itself. */
  readonly expiresAt: number
}

/** A yes or a no. `content`: the answers to a question, or the fields of an elicitation. `message`: why, for the agent. */
export interface Answer {
  readonly allow: boolean
  readonly content?: Record<string, unknown>
  readonly message?: string
}

/**
 * What became of an answer: it was `taken`, came `late` for a question that was already settled, or there was no such
 * question.
 */
export type AnswerFate = 'taken' | 'late' | 'unknown'

interface QuestionEvents {
  asked: [Question]
  /** `by`: the caller that answered, or `deadline`, `withdrawn`, `limit`. */
  settled: [{ question: Question; allow: boolean; by: string }]
}

interface Open {
  readonly question: Question
  settle(answer: Answer, by: string): void
}

/** The session of a question. */
type Place = Pick<SessionRef, 'tenant' | 'key'>

const DEADLINE_MS = 600_000

/** An agent that asks without end gets a no without a wait. */
const MAX_OPEN_OF_SESSION = 32

/** Answers that came before their questions. */
const MAX_AHEAD_OF_SESSION = 100

const MAX_SETTLED = 10_000

const answersSchema = {
  type: 'object',
  properties: { answers: { type: 'object', additionalProperties: { type: 'string' } } },
  required: ['answers'],
}

type Asked = Pick<Question, 'kind' | 'message' | 'tool' | 'schema'>

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/**
 * Open questions of agents until they are answered. A client that reconnects finds them again. Without an answer in
 * time it is a no. The log has every decision with its origin.
 */
export class Questions {
  readonly events: EventEmitter<QuestionEvents> = new EventEmitter<QuestionEvents>().setMaxListeners(0)
  readonly #clock: Clock
  readonly #deadlineMs: number
  readonly #logger: Logger | undefined
  readonly #open = new Map<string, Map<string, Open>>()
  /** Answers may come twice. */
  readonly #settled = new Set<string>()
  /** Answers that came before their questions: by session, then by the event of the tool call. */
  readonly #ahead = new Map<string, Map<string, { answer: Answer; by: string }>>()

  constructor(options: QuestionsOptions = {}) {
    checkOptions('Questions', options, { clock: true, deadlineMs: true, logger: true })
    const { clock = systemClock, deadlineMs = DEADLINE_MS, logger } = options
    this.#clock = clock
    this.#deadlineMs = deadlineMs
    this.#logger = logger
  }

  /** For an agent's options: its tool calls that need permission, and its questions, wait here. */
  readonly canUseTool: PoolCanUseTool = async (name, input, { session, signal, toolUseID, title }) => {
    const isQuestion = name === 'AskUserQuestion'
    const answer = await this.#ask(session, signal, {
      kind: isQuestion ? 'question' : 'permission',
      message: title ?? (isQuestion ? wordsOf(input) : `Allow ${name}?`),
      tool: { id: toolUseID, name, input },
      schema: isQuestion ? answersSchema : undefined,
    })
    if (!answer.allow) return { behavior: 'deny', message: answer.message ?? 'The user said no.' }
    // Of a tool's input an answer changes nothing but the answers to its questions.
    return { behavior: 'allow', updatedInput: isQuestion ? { ...input, answers: answersOf(answer) } : input }
  }

  /** For an agent's options: what MCP servers want to know waits here. */
  readonly onElicitation: PoolOnElicitation = async (request, { session, signal }) => {
    const answer = await this.#ask(session, signal, {
      kind: 'elicitation',
      message: request.message,
      tool: undefined,
      schema: request.mode === 'url' ? undefined : request.requestedSchema,
    })
    if (!answer.allow) return { action: 'decline' }
    return { action: 'accept', content: (answer.content ?? {}) as Record<string, string> }
  }

  /** The result of a tool that the client executes: what it answers as `content`. */
  callTool(session: SessionRef | undefined, signal: AbortSignal, tool: NonNullable<Question['tool']>): Promise<Answer> {
    return this.#ask(session, signal, { kind: 'tool_call', message: `Run ${tool.name}`, tool, schema: undefined })
  }

  /**
   * Returns the same agent, which asks here if its `permissionMode` does not decide. An agent with its own callbacks
   * asks those.
   */
  for(agent: AgentOptions): AgentOptions {
    const asks = ['default', 'acceptEdits', 'plan'].includes(agent.permissionMode ?? '')
    return asks ? { canUseTool: this.canUseTool, onElicitation: this.onElicitation, ...agent } : agent
  }

  /** What waits in this session, oldest first. */
  open(tenant: string, key: string): Question[] {
    return [...(this.#open.get(idOf(tenant, key))?.values() ?? [])].map(({ question }) => question)
  }

  /** Answers a question of this session in the name of a caller. */
  answer({ tenant, key }: { tenant: string; key: string }, id: string, answer: Answer, by: string): AnswerFate {
    const open = this.#open.get(idOf(tenant, key))?.get(id)
    if (open === undefined) return this.#settled.has(`${idOf(tenant, key)}\0${id}`) ? 'late' : 'unknown'
    open.settle(answer, by)
    return 'taken'
  }

  /** True for a question of this session that waits, or was settled lately. */
  knows({ tenant, key }: { tenant: string; key: string }, id: string): boolean {
    const place = idOf(tenant, key)
    return this.#open.get(place)?.has(id) === true || this.#settled.has(`${place}\0${id}`)
  }

  /** The question that waits about the tool call of this event. */
  openCall({ tenant, key }: Place, callEventId: string): Question | undefined {
    return this.#openCall(idOf(tenant, key), callEventId)?.question
  }

  /** True when the question about the tool call of this event was settled lately. */
  hasSettledCall({ tenant, key }: Place, callEventId: string): boolean {
    return this.#settled.has(`${idOf(tenant, key)}\0${callEventId}`)
  }

  /**
   * Answers the question about the tool call of this event. The answer to one that is not asked yet waits for it, until
   * `turnEnded()`. Of those a session has 100 at most: the oldest goes first.
   */
  answerCall({ tenant, key }: Place, callEventId: string, answer: Answer, by: string): void {
    const place = idOf(tenant, key)
    const open = this.#openCall(place, callEventId)
    if (open !== undefined) return open.settle(answer, by)
    const ahead = this.#ahead.get(place) ?? new Map<string, { answer: Answer; by: string }>()
    this.#ahead.set(place, ahead.set(callEventId, { answer, by }))
    keepNewest(ahead, MAX_AHEAD_OF_SESSION)
  }

  /** Discards answers of this session that came before their question. */
  turnEnded({ tenant, key }: Place): void {
    this.#ahead.delete(idOf(tenant, key))
  }

  #openCall(place: string, callEventId: string): Open | undefined {
    const open = [...(this.#open.get(place)?.values() ?? [])]
    return open.find(({ question: { tool } }) => tool !== undefined && toolUseEventId(tool.id) === callEventId)
  }

  #ask(session: SessionRef | undefined, signal: AbortSignal, asked: Asked): Promise<Answer> {
    if (session === undefined) return Promise.resolve({ allow: false, message: 'There is no session to ask in.' })
    const place = idOf(session.tenant, session.key)
    const askedAt = this.#clock.wall()
    const id = asked.tool?.id ?? `ask_${randomUUID()}`
    const question: Question = { id, session, ...asked, askedAt, expiresAt: askedAt + this.#deadlineMs }
    const ahead = asked.tool === undefined ? undefined : this.#takeAhead(place, toolUseEventId(asked.tool.id))
    if (ahead !== undefined) {
      this.#note(question, ahead.answer, ahead.by)
      return Promise.resolve(ahead.answer)
    }
    const siblings = this.#open.get(place) ?? new Map<string, Open>()
    this.#open.set(place, siblings)
    if (siblings.size >= MAX_OPEN_OF_SESSION || siblings.has(id)) {
      this.#note(question, { allow: false }, 'limit')
      return Promise.resolve({ allow: false, message: 'Too much is being asked at once.' })
    }
    const { promise, resolve } = Promise.withResolvers<Answer>()
    const withdrawn = (): void => settle({ allow: false, message: 'The turn was interrupted.' }, 'withdrawn')
    const settle = (answer: Answer, by: string): void => {
      if (siblings.get(id)?.question !== question) return
      siblings.delete(id)
      if (siblings.size === 0) this.#open.delete(place)
      cancel()
      signal.removeEventListener('abort', withdrawn)
      this.#note(question, answer, by)
      resolve(answer)
    }
    const cancel = this.#clock.after(this.#deadlineMs, () =>
      settle({ allow: false, message: `No answer within ${formatDuration(this.#deadlineMs)}.` }, 'deadline'),
    )
    siblings.set(id, { question, settle })
    signal.addEventListener('abort', withdrawn, { once: true })
    if (signal.aborted) withdrawn()
    else this.events.emit('asked', question)
    return promise
  }

  #takeAhead(place: string, callEventId: string): { answer: Answer; by: string } | undefined {
    const ahead = this.#ahead.get(place)
    const found = ahead?.get(callEventId)
    ahead?.delete(callEventId)
    if (ahead?.size === 0) this.#ahead.delete(place)
    return found
  }

  #note(question: Question, { allow }: Answer, by: string): void {
    const { id, kind, tool, session } = question
    for (const name of tool === undefined ? [id] : [id, toolUseEventId(tool.id)]) {
      this.#settled.add(`${idOf(session.tenant, session.key)}\0${name}`)
      keepNewest(this.#settled, MAX_SETTLED)
    }
    this.#logger?.info(`${kind} ${allow ? 'allowed' : 'denied'}`, {
      by,
      question: id,
      tool: tool?.name,
      tenant: session.tenant,
      session: session.key,
      agent: session.agent,
      waited_ms: this.#clock.wall() - question.askedAt,
    })
    this.events.emit('settled', { question, allow, by })
  }
}

/** What `new Questions()` takes. */
export interface QuestionsOptions {
  /** Default: the system's. */
  clock?: Clock
  /** How long a question waits for an answer, in milliseconds. Default 10 minutes. */
  deadlineMs?: number
  /** Gets a line for every decision. Default: none. */
  logger?: Logger
}

function wordsOf(input: Record<string, unknown>): string {
  const { questions } = input as { questions?: { question?: string }[] }
  const words = Array.isArray(questions) ? questions.map(({ question }) => question ?? '').join('\n') : ''
  return words === '' ? 'The agent has a question.' : words
}

/** Strings by question, as the tool takes them; all else is left out. */
function answersOf({ content }: Answer): Record<string, string> {
  const answers = (content as { answers?: unknown } | undefined)?.answers ?? {}
  if (typeof answers !== 'object' || answers === null) return {}
  return Object.fromEntries(
    Object.entries(answers).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}
