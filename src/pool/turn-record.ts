import type { SDKMessage, SDKUserMessage } from '../driver/driver.ts'
import { TurnInterruptedError } from '../errors.ts'
import type { PermissionAnswer, PermissionQuestion } from '../worker/worker.ts'
import type { Journal, NumberedEvent } from './journal.ts'
import type { NewSessionEvent, SessionEvent } from './session-event.ts'
import { idle, promptEvent, sessionError, toolUseEvent, toolUseEventId, TurnEvents } from './turn-events.ts'

/** Questions overtake what was said before them, which comes within milliseconds unless a reader holds it back. */
const OVERTAKEN_MS = 200

type Phase = 'new' | 'waiting' | 'begun' | 'closed'

/** What one turn leaves in its session's journal. */
export class TurnRecord {
  readonly #journal: Journal
  readonly #prompt: SDKUserMessage
  readonly #events = new TurnEvents()
  readonly #kept = Promise.withResolvers<NumberedEvent>()
  /** Calls without a result, as they were recorded. */
  readonly #calls = new Map<string, Promise<NumberedEvent | undefined>>()
  readonly #openQuestions = new Set<string>()
  /** What the caller has put into the journal himself: `user.interrupt`, or the id of a call that he has decided on. */
  readonly #told = new Set<string>()
  /** Calls that were told with their question, before the message that they came in. */
  readonly #toldAhead = new Set<string>()
  /** One after the other, so that no answer is told before its question. */
  #asking: Promise<unknown> = Promise.resolve()
  #phase: Phase = 'new'
  #requestOver: (() => void) | undefined

  constructor(journal: Journal, prompt: SDKUserMessage) {
    this.#journal = journal
    this.#prompt = prompt
    this.kept.catch(ignore)
  }

  /** The event of the prompt, once it is in the journal. Rejects when the turn ends before that. */
  get kept(): Promise<NumberedEvent> {
    return this.#kept.promise
  }

  /** Resolves when what is in the journal is on the disk. Rejects with StoreError. */
  flush(): Promise<void> {
    return this.#journal.flush()
  }

  /** Keeps the prompt of a turn that has to wait. What goes wrong rejects `kept`. */
  async accept(): Promise<void> {
    if (this.#phase !== 'new') return
    this.#phase = 'waiting'
    this.#journal.waiting += 1
    try {
      const [event] = await this.#journal.append([{ ...promptEvent(this.#prompt), processed_at: null }], 'open')
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
    const running: NewSessionEvent = { type: 'session.status_running' }
    if (waited === undefined) {
      const prompt = await this.#journal
        .append([promptEvent(this.#prompt), running], 'open')
        .catch((error: unknown) => {
          // Nothing of this turn is kept, so neither is its end.
          this.#close()
          this.#kept.reject(error)
          throw error
        })
      this.#kept.resolve(prompt[0] as NumberedEvent)
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
  async said(message: SDKMessage, last: boolean): Promise<void> {
    if (this.#phase !== 'begun') return
    const { events: all, previews } = this.#events.map(message, last)
    if (!this.#events.inStream) this.#requestOver?.()
    const events = all.filter((event) => !isCall(event) || !this.#toldAhead.delete(event.id as string))
    if (previews.length > 0) this.#journal.preview(previews)
    if (last) this.#close()
    if (events.length === 0) return
    const asked = events.map((event) => this.#withQuestion(event))
    const added = last ? this.#journal.append(asked, this.#journal.turnAfter) : this.#journal.gather(asked)
    this.#noteCalls(events, added)
    await added
  }

  /** The turn is interrupted on request. */
  interrupted(): void {
    if (this.#phase !== 'begun' || this.#told.has('user.interrupt')) return
    this.#told.add('user.interrupt')
    this.#journal.append([{ type: 'user.interrupt' }]).catch(ignore)
  }

  /** The caller has put this into the journal: it is not told again. */
  told(event: SessionEvent): void {
    if (event.type === 'user.interrupt') this.#told.add(event.type)
    if (event.type === 'user.tool_confirmation') this.#told.add(event.tool_use_id)
  }

  /** The agent waits for a permission. */
  asked(question: PermissionQuestion): void {
    const id = toolUseEventId(question.toolUseId)
    this.#openQuestions.add(id)
    // The call has come just before; once it was told, the list must not say more than the streams did.
    if (question.asks === 'permission') this.#journal.amend(id, { evaluated_permission: 'ask' })
    this.#inOrder(async () => {
      await this.#caughtUp()
      const call = await this.#calls.get(id)
      // Who is asked must see for what: the calls of subagents are told nowhere else, and a question may overtake its message.
      const { toolUseId, name, input, subagent } = question
      const untold = call === undefined ? [this.#withQuestion(toolUseEvent(toolUseId, name, input))] : []
      if (call === undefined && !subagent) this.#toldAhead.add(id)
      const stop = idle({ type: 'requires_action', event_ids: [...this.#openQuestions] })
      await this.#journal.append([...untold, stop])
    })
  }

  /** It was given or refused. */
  answered({ asks, toolUseId }: PermissionQuestion, { result, message }: PermissionAnswer): void {
    const id = toolUseEventId(toolUseId)
    this.#inOrder(async () => {
      this.#openQuestions.delete(id)
      const events: NewSessionEvent[] = []
      const denial = result === 'deny' && message !== undefined ? { deny_message: message } : {}
      if (asks === 'permission' && !this.#told.has(id))
        events.push({ type: 'user.tool_confirmation', tool_use_id: id, result, ...denial })
      if (this.#openQuestions.size === 0) events.push({ type: 'session.status_running' })
      await this.#journal.append(events)
    })
  }

  /** The turn has ended without a result of its process. */
  ended(failure: Error | undefined): void {
    const { phase } = this
    if (phase === 'closed') return
    this.#close()
    const end = this.#ending(phase, failure)
    this.#kept.reject(failure ?? new TurnInterruptedError('the turn ended before it began'))
    // One that cannot be written now is written before the next turn begins.
    if (end.length > 0) this.#journal.append(end, this.#journal.turnAfter).catch(ignore)
    if (phase === 'waiting') void this.kept.then((prompt) => this.#processed(prompt)).catch(ignore)
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

  #close(): void {
    if (this.#phase === 'waiting') this.#journal.waiting -= 1
    if (this.#phase === 'begun') this.#journal.running -= 1
    this.#phase = 'closed'
  }

  #processed({ number, event }: NumberedEvent): Promise<void> {
    return this.#journal.replace({ number, event: { ...event, processed_at: this.#journal.time } as SessionEvent })
  }

  #withQuestion(event: NewSessionEvent): NewSessionEvent {
    if (event.type !== 'agent.tool_use' && event.type !== 'agent.mcp_tool_use') return event
    return this.#openQuestions.has(event.id ?? '') ? { ...event, evaluated_permission: 'ask' } : event
  }

  #noteCalls(events: readonly NewSessionEvent[], added: Promise<NumberedEvent[]>): void {
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
    // What the store refuses here it refuses elsewhere, where somebody waits.
    this.#asking = this.#asking.then(() => (this.#phase === 'begun' ? work() : undefined)).catch(ignore)
  }
}

const isCall = ({ type }: NewSessionEvent): boolean =>
  type === 'agent.tool_use' || type === 'agent.mcp_tool_use' || type === 'agent.custom_tool_use'

const ignore = (): void => undefined
