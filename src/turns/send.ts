import type { Clock } from '../clock.ts'
import type { SDKUserMessage } from '../driver/driver.ts'
import { ConfigError, PoolError, TurnInterruptedError } from '../errors.ts'
import type { EventContent, NewSessionEvent } from '../journal/session-event.ts'
import { readTurnLimits } from '../options/limits.ts'
import { checkOptions } from '../options/unknown.ts'
import { notOneOf } from '../options/wording.ts'
import { parseTraceparent } from '../trace-context.ts'
import { toUserMessage } from './prompt.ts'
import type { PromptMetadata, TurnInput } from './prompt.ts'
import { RunningTurn } from './running-turn.ts'
import type { TurnLimitOptions, TurnLimits } from '../options/limits.ts'
import type { SessionInfo } from '../store/store.ts'
import type { OnLeave } from './turn.ts'

/** What `send()` does while a turn of the session runs. */
export type OnBusy = 'reject' | 'queue' | 'interrupt' | 'steer'

/** How one turn is sent. */
export interface SendOptions {
  /** Aborting it cancels a waiting turn and interrupts a running one; the turn then fails with TurnInterruptedError. */
  signal?: AbortSignal
  /** While another turn of the session runs. Default `"reject"`: SessionBusyError. At most 16 turns queue. */
  onBusy?: OnBusy
  /** When the reader stops iterating before the end. Default `"interrupt"`; `"detach"` lets the turn continue. */
  onLeave?: OnLeave
  /**
   * Context for the agent beside the prompt. The agent sees it as system reminders; the session's events do not show
   * it.
   */
  context?: readonly string[]
  /**
   * The caller's own JSON, such as the id of the message, stored in the event of the prompt. At most 64 Ki characters.
   * The agent does not see it.
   */
  metadata?: PromptMetadata
  /**
   * The id of the prompt's event, for a caller that may have to send the prompt again and looks for it first. 1 to 128 letters, digits, `_`
   * and `-`. Default: a random one.
   */
  eventId?: string
  /** The limits of this turn. Default: the agent's. */
  limits?: TurnLimitOptions
  /**
   * False: the session's events do not show the prompt, for a prompt that no user has sent. A list of content blocks: they show these in
   * its place, such as the name of a file in place of its content. Default `true`.
   */
  showPrompt?: boolean | readonly EventContent[]
  /**
   * Returns the caller's own events, which come right before the turn's last one. It receives the session's info at
   * that time. Default: none.
   */
  lastEvents?: (session: SessionInfo) => readonly NewSessionEvent[]
  /**
   * The trace that the turn is a part of, as in the header `traceparent` of W3C Trace Context. Default: the span of
   * OpenTelemetry in which `send()` is called.
   */
  traceparent?: string
}

/** Stands in for a prompt that is none: the turn that carries it has failed before it began. */
const NO_PROMPT: SDKUserMessage = { type: 'user', message: { role: 'user', content: [] }, parent_tool_use_id: null }

/** Makes the turn of a `send()`. Never throws: what is wrong with the arguments has ended it already. */
export function newTurn(
  input: TurnInput,
  options: SendOptions,
  base: { clock: Clock; limits: () => TurnLimits },
): RunningTurn {
  const { clock } = base
  const onLeave = options?.onLeave ?? 'interrupt'
  try {
    checkSendOptions(options)
    const limits = { ...base.limits(), ...readTurnLimits('limits', options.limits) }
    const { traceparent } = options
    const turn = new RunningTurn(toUserMessage(input, options), { clock, limits, onLeave, traceparent })
    listenToSignal(turn, options.signal)
    return turn
  } catch (error) {
    const turn = new RunningTurn(NO_PROMPT, {
      clock,
      limits: { turnTimeoutMs: Infinity, inactivityTimeoutMs: Infinity },
      onLeave,
    })
    turn.fail(error as Error)
    return turn
  }
}

const SEND_OPTIONS: Record<keyof SendOptions, true> = {
  signal: true,
  onBusy: true,
  onLeave: true,
  context: true,
  metadata: true,
  eventId: true,
  lastEvents: true,
  showPrompt: true,
  limits: true,
  traceparent: true,
}

const EXAMPLE_TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

const ON_BUSY = ['reject', 'queue', 'interrupt', 'steer']
const ON_LEAVE = ['interrupt', 'detach']

/** Checks the options of `send()`. Throws ConfigError. */
export function checkSendOptions(options: SendOptions): void {
  checkOptions('send()', options, SEND_OPTIONS)
  const { signal, onBusy, onLeave, context, eventId, showPrompt, traceparent } = options
  if (onBusy !== undefined && !ON_BUSY.includes(onBusy)) throw new ConfigError('onBusy', notOneOf(onBusy, ON_BUSY))
  if (onLeave !== undefined && !ON_LEAVE.includes(onLeave))
    throw new ConfigError('onLeave', notOneOf(onLeave, ON_LEAVE))
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    throw new ConfigError('signal', 'must be an AbortSignal, such as the signal of an AbortController')
  if (context !== undefined && !(Array.isArray(context) && context.every((text) => typeof text === 'string')))
    throw new ConfigError('context', 'must be a list of texts')
  if (showPrompt !== undefined && typeof showPrompt !== 'boolean' && !isContent(showPrompt))
    throw new ConfigError('showPrompt', 'must be true, false, or a list of content blocks')
  if (eventId !== undefined && !(typeof eventId === 'string' && /^[\w-]{1,128}$/.test(eventId)))
    throw new ConfigError('eventId', 'must have 1 to 128 letters, digits, "_" and "-"')
  if (traceparent !== undefined && parseTraceparent(traceparent) === undefined)
    throw new ConfigError('traceparent', `is not a W3C traceparent, such as ${EXAMPLE_TRACEPARENT}`)
}

const isContent = (value: unknown): boolean =>
  Array.isArray(value) && value.every((block: { type?: unknown } | null) => typeof block?.type === 'string')

/** How a turn ended, in a word: the subtype of its result, or the code of its error. */
export function outcomeOf({ failure, resultMessage }: RunningTurn): string {
  if (failure === undefined) return resultMessage?.subtype ?? 'success'
  return failure instanceof PoolError ? failure.code : 'error'
}

function listenToSignal(turn: RunningTurn, signal: AbortSignal | undefined): void {
  if (signal === undefined) return
  const aborted = (): void =>
    turn.abort(new TurnInterruptedError('the turn was aborted by its caller', { cause: signal.reason }))
  if (signal.aborted) {
    aborted()
    return
  }
  signal.addEventListener('abort', aborted, { once: true })
  void turn.ended.then(() => signal.removeEventListener('abort', aborted))
}
