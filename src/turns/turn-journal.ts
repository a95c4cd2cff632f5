import type { SDKMessage, SDKUserMessage } from '../driver/driver.ts'
import { PoolClosedError, TurnInterruptedError } from '../errors.ts'
import { Activity } from '../journal/activity.ts'
import { HeldCalls } from './held-calls.ts'
import type { GatedCall } from './held-calls.ts'
import type { Journal, NumberedEvent } from '../journal/journal.ts'
import type { NewSessionEvent, SessionEvent } from '../journal/session-event.ts'
import { promptEvent, toolUseEvent, EventTranslator } from './event-translator.ts'
import type { Permissions } from '../agents/permissions.ts'
import type { PermissionAnswer, PermissionQuestion } from '../agents/question.ts'
import { idle, sessionError, toolUseEventId } from '../journal/session-event.ts'

/** Questions overtake what was said before them, which comes within milliseconds unless a reader holds it back. */
const OVERTAKEN_MS = 200

const HANDED_OVER =
  'this host ends before the prompt has begun; the next host of the session runs it, and the events of the session show its answer'

type Phase = 'new' | 'waiting' | 'begun' | 'closed'

/** What a turn is to leave beside what it says itself. */
export interface TurnJournalOptions {
  /** What is known of the permissions of its calls before the CLI decides. */
  permissions: Permissions
  /** Resolves when its process has answered a question: everything that it said before has been heard. */
  caughtUp: () => Promise<void>
  /** Undefined: there is none, or it is no user's and is not told. */
  prompt?: SDKUserMessage | undefined
  /** The event of the prompt, if an earlier host has stored it. */
  stored?: NumberedEvent | undefined
  /** Where the next host runs prompts that have not begun when this one ends. Default: no. */
  handsOver?: boolean
  /** What comes right before its last event. */
  lastEvents?: () => readonly NewSessionEvent[]
  /** Translation once, when it has ended, how long it has run without waiting for answers, in milliseconds. */
  ran: (activeMs: number) => void
}

/** What one turn leaves in its session's journal. Without a prompt it may be what the agent says unprompted. */
export class TurnJournal {
  readonly #journal: Journal
  readonly #options: TurnJournalOptions
  readonly #events = new EventTranslator()
  readonly #kept = Promise.withResolvers<NumberedEvent>()
  /** Calls without a result, as they were recorded. */
  readonly #calls = new Map<string, Promise<NumberedEvent | undefined>>()
  readonly #openQuestions = new Set<string>()
  /** What the caller has put into the journal himself: `user.interrupt`, or the id of a call that he has decided on. */
  readonly #told = new Set<string>()
  /** Calls that were told with their question, before the message that they came in. */
  readonly #toldAhead = new Set<string>()
  readonly #held: HeldCalls
  /** One after the other, so that no answer is told before its question. */
  #asking: Promise<unknown> = Promise.resolve()
  #phase: Phase = 'new'
  #isStored = false
  /** True while the events say that the turn waits for answers. */
  #paused = false
  #requestOver: (() => void) | undefined
  readonly #activity = new Activity()

  constructor(journal: Journal, options: TurnJournalOptions) {
    this.#journal = journal
    this.#options = options
    this.#held = new HeldCalls({
      permissions: options.permissions,
      elapsed: (ms) => journal.elapsed(ms),
      caughtUp: options.caughtUp,
      tell: (call) => this.#tell([call]),
    })
    this.kept.catch(ignore)
    if (options.stored === undefined) return
    this.#phase = 'waiting'
    journal.waiting += 1
    this.#isStored = true
    this.#kept.resolve(options.stored)
  }

  /** The event of the prompt, once it is in the journal. Rejects when the turn ends before that. */
  get kept(): Promise<NumberedEvent> {
    return this.#kept.promise
  }

  /** Resolves when what is in the journal is on the disk. Rejects with StoreError. */
  flush(): Promise<void> {
    return this.#journal.flush()
  }

  /** How long it has run without waiting for answers, in milliseconds; 0 once that is told. */
  get activeMs(): number {
    return this.#activity.until(this.#journal.now)
  }

  /** Keeps the prompt of a turn that has to wait. What goes wrong rejects `kept`. */
  async accept(): Promise<void> {
    const { prompt } = this.#options
    if (this.#phase !== 'new' || prompt === undefined) return
    this.#phase = 'waiting'
    this.#journal.waiting += 1
    try {
      const [event] = await this.#journal.append([{ ...promptEvent(prompt), processed_at: null }], 'open')
      this.#isStored = true
      this.#kept.resolve(event as NumberedEvent)
    } catch (error) {
      this.#kept.reject(error)
    }
  }

  /** The prompt is about to be handed over: resolves when the journal says so. Rejects with StoreError. */
  async begin(): Promise<void> {
    const { phase } = this
    if (phase === 'closed' || phase === 'begun') return
    const waited = phase === 'waiting' ? await this.kept : undefined
    if (this.phase === 'closed') return
    if (phase === 'waiting') this.#journal.waiting -= 1
    this.#phase = 'begun'
    this.#journal.running += 1
    this.#activity.resume(this.#journal.now)
    const running: NewSessionEvent = { type: 'session.status_running' }
    if (waited === undefined) {
      const { prompt } = this.#options
      const shown = prompt === undefined ? [] : [promptEvent(prompt)]
      const begun = await this.#journal.append([...shown, running], 'open').catch((error: unknown) => {
        // Nothing of this turn is kept, so neither is its end.
        this.#close()
        this.#kept.reject(error)
        throw error
      })
      this.#kept.resolve(begun[0] as NumberedEvent)
    } else {
      await Promise.all([this.#processed(waited), this.#journal.append([running], 'open')])
    }
  }

  /** Another prompt has come to the turn that runs: resolves when it is on the disk. Rejects with StoreError. */
  async steer(message: SDKUserMessage): Promise<NumberedEvent | undefined> {
    if (this.#phase !== 'begun') return undefined
    const [event] = await this.#journal.append([promptEvent(message)])
    await this.#journal.flush()
    return event
  }

  /** What the process says. `last`: the turn ends with it. Resolves when it is kept. Rejects with StoreError. */
  async recordMessage(message: SDKMessage, last: boolean): Promise<void> {
    if (this.#phase !== 'begun') return
    const { events: all, previews } = this.#events.map(message, last)
    if (!this.#events.inStream) this.#requestOver?.()
    if (message.type === 'system' && message.subtype === 'permission_denied')
      this.#held.decided(toolUseEventId(message.tool_use_id), 'deny')
    const events = all.flatMap((event) => this.#ready(event))
    if (previews.length > 0) this.#journal.preview(previews)
    if (last) {
      events.splice(-1, 0, ...this.#held.takeAll(), ...this.#lastEvents())
      this.#close()
    }
    if (events.length === 0) return
    const added = last ? this.#journal.append(events, this.#journal.turnAfter) : this.#journal.gather(events)
    this.#recordCalls(events, added)
    await added
  }

  /** The CLI is about to decide whether this call may run. */
  recordCall(toolUseId: string): void {
    this.#held.reached(toolUseEventId(toolUseId))
  }

  /** The turn is interrupted on request. */
  recordInterrupt(): void {
    if (this.#phase !== 'begun' || this.#told.has('user.interrupt')) return
    this.#told.add('user.interrupt')
    this.#journal.append([{ type: 'user.interrupt' }]).catch(ignore)
  }

  /** The caller has put this into the journal: it is not told again. */
  recordFromCaller(event: SessionEvent): void {
    if (event.type === 'user.interrupt') this.#told.add(event.type)
    if (event.type === 'user.tool_confirmation') this.#told.add(event.tool_use_id)
  }

  /** The agent waits for a permission. */
  recordQuestion(question: PermissionQuestion): void {
    const { toolUseId, name, input, subagent } = question
    const id = toolUseEventId(toolUseId)
    this.#openQuestions.add(id)
    if (question.asks === 'permission') this.#held.decided(id, 'ask')
    this.#inOrder(async () => {
      await this.#caughtUp()
      // An answer that was there before the question comes first.
      await new Promise((resolve) => setImmediate(resolve))
      const call = await this.#calls.get(id)
      // A question needs its call: no other event shows the calls of subagents, and a question may overtake its message.
      const untold = call === undefined ? [withQuestion(toolUseEvent(toolUseId, name, input))] : []
      if (call === undefined && !subagent) this.#toldAhead.add(id)
      // A question that is already answered keeps no caller waiting.
      const waits = this.#openQuestions.has(id)
      const stop = waits ? [idle({ type: 'requires_action', event_ids: [...this.#openQuestions] })] : []
      if (waits && !this.#paused) this.#activity.pause(this.#journal.now)
      this.#paused ||= waits
      if (untold.length + stop.length > 0) await this.#journal.append([...untold, ...stop])
    })
  }

  /** It was given or refused. */
  recordAnswer({ asks, toolUseId }: PermissionQuestion, { result, message }: PermissionAnswer): void {
    const id = toolUseEventId(toolUseId)
    this.#openQuestions.delete(id)
    this.#inOrder(async () => {
      const events: NewSessionEvent[] = []
      const denial = result === 'deny' && message !== undefined ? { deny_message: message } : {}
      if (asks === 'permission' && result !== 'withdrawn' && !this.#told.has(id))
        events.push({ type: 'user.tool_confirmation', tool_use_id: id, result, ...denial })
      if (this.#paused && this.#openQuestions.size === 0) {
        this.#paused = false
        this.#activity.resume(this.#journal.now)
        events.push({ type: 'session.status_running' })
      }
      if (events.length > 0) await this.#journal.append(events)
    })
  }

  /** The turn has ended without a result of its process. What its caller is told in place of `failure`, if anything. */
  recordEnd(failure: Error | undefined): Error | undefined {
    const { phase } = this
    if (phase === 'closed') return undefined
    if (this.isWaiting && this.#options.handsOver === true && failure instanceof PoolClosedError)
      return this.#handOver()
    const extra = phase === 'begun' ? [...this.#held.takeAll(), ...this.#lastEvents()] : []
    this.#close()
    const end = this.#ending(phase, failure)
    end.splice(-1, 0, ...extra)
    this.#kept.reject(failure ?? new TurnInterruptedError('the turn ended before it began'))
    // One that cannot be written now is written before the next turn begins.
    if (end.length > 0) this.#journal.append(end, this.#journal.turnAfter).catch(ignore)
    if (phase === 'waiting') void this.kept.then((prompt) => this.#processed(prompt)).catch(ignore)
    return undefined
  }

  /** It counts as waiting, so that the session stays in a turn for the host that is next. */
  #handOver(): Error {
    this.#phase = 'closed'
    return new PoolClosedError(HANDED_OVER, { duringTurn: true })
  }

  /** True from the moment that its prompt is stored until it begins. */
  get isWaiting(): boolean {
    return this.#phase === 'waiting' && this.#isStored
  }

  get phase(): Phase {
    return this.#phase
  }

  #ending(phase: Phase, failure: Error | undefined): NewSessionEvent[] {
    const problem = failure instanceof TurnInterruptedError ? undefined : failure?.message
    if (phase === 'begun') return this.#events.end(problem)
    if (phase === 'new') return []
    const error = sessionError('unknown_error', failure?.message ?? 'the turn ended before it began', 'exhausted')
    const others = this.#journal.running + this.#journal.waiting > 0
    return others ? [error] : [error, idle({ type: problem === undefined ? 'end_turn' : 'retries_exhausted' })]
  }

  #lastEvents(): readonly NewSessionEvent[] {
    // The turn has run until now: these events and the session say the same.
    this.#activity.pause(this.#journal.now)
    return this.#options.lastEvents?.() ?? []
  }

  #close(): void {
    if (this.#phase === 'waiting') this.#journal.waiting -= 1
    if (this.#phase === 'begun') {
      this.#journal.running -= 1
      this.#options.ran(this.#activity.end(this.#journal.now))
    }
    this.#phase = 'closed'
  }

  #processed({ number, event }: NumberedEvent): Promise<void> {
    return this.#journal.replace({ number, event: { ...event, processed_at: this.#journal.time } as SessionEvent })
  }

  /** What an event amounts to now: a call may have been told, or wait, and what it waits for may be there with its result. */
  #ready(event: NewSessionEvent): NewSessionEvent[] {
    const held = (id: string): NewSessionEvent[] => [this.#held.take(id, 'allow') ?? [], event].flat()
    if (event.type === 'agent.tool_result') return held(event.tool_use_id)
    if (event.type === 'agent.mcp_tool_result') return held(event.mcp_tool_use_id)
    // A session that waits for its client is idle, whatever its subagents do.
    if (this.#paused && (event.type === 'session.status_rescheduled' || event.type === 'session.status_running'))
      return []
    if (!isCall(event)) return [event]
    if (this.#toldAhead.delete(event.id as string)) return []
    if (!isGated(event)) return [event]
    const told = this.#held.hear(event)
    return told === undefined ? [] : [told]
  }

  #tell(events: NewSessionEvent[]): void {
    if (this.#phase !== 'begun') return
    const added = this.#journal.gather(events)
    this.#recordCalls(events, added)
    added.catch(ignore)
  }

  #recordCalls(events: readonly NewSessionEvent[], added: Promise<NumberedEvent[]>): void {
    for (const [index, event] of events.entries()) {
      if (event.type === 'agent.tool_result') this.#calls.delete(event.tool_use_id)
      if (event.type === 'agent.mcp_tool_result') this.#calls.delete(event.mcp_tool_use_id)
      if (!isCall(event)) continue
      const recorded = added.then(
        (all) => all[index],
        () => undefined,
      )
      this.#calls.set(event.id as string, recorded)
    }
  }

  /** An agent asks after its request: that is told first, unless it is long in coming. */
  async #caughtUp(): Promise<void> {
    if (!this.#events.inStream) return
    const over = new Promise<void>((resolve) => (this.#requestOver = resolve))
    await Promise.race([over, this.#journal.elapsed(OVERTAKEN_MS)])
  }

  #inOrder(work: () => Promise<void>): void {
    // If the store refuses this, it also refuses the event that a caller waits for.
    this.#asking = this.#asking.then(() => (this.#phase === 'begun' ? work() : undefined)).catch(ignore)
  }
}

const isCall = ({ type }: NewSessionEvent): boolean =>
  type === 'agent.tool_use' || type === 'agent.mcp_tool_use' || type === 'agent.custom_tool_use'

const isGated = (event: NewSessionEvent): event is GatedCall =>
  event.type === 'agent.tool_use' || event.type === 'agent.mcp_tool_use'

/** A call that waits for an answer, as its event. */
const withQuestion = (event: NewSessionEvent): NewSessionEvent =>
  isGated(event) ? { ...event, evaluated_permission: 'ask' } : event

const ignore = (): void => undefined
