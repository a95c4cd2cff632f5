import type { Clock } from '../clock.ts'
import type { SDKUserMessage } from '../driver/driver.ts'
import { ConfigError, PoolError, TurnInterruptedError } from '../errors.ts'
import { readTurnLimits } from '../options/limits.ts'
import { toUserMessage } from './input.ts'
import type { TurnInput } from './input.ts'
import type { SendOptions } from './session.ts'
import { RunningTurn } from './turn.ts'
import type { TurnLimits } from './turn.ts'

/** Stands in for a prompt that is none: the turn that carries it has failed before it began. */
const NO_PROMPT: SDKUserMessage = { type: 'user', message: { role: 'user', content: [] }, parent_tool_use_id: null }

/** Makes the turn of a `send()`. Never throws: what is wrong with the arguments has ended it already. */
export function newTurn(
  input: TurnInput,
  options: SendOptions,
  base: { clock: Clock; limits: () => TurnLimits },
): RunningTurn {
  const { clock } = base
  const onLeave = options.onLeave ?? 'interrupt'
  try {
    checkOneOf('onBusy', options.onBusy ?? 'reject', ['reject', 'queue', 'interrupt', 'steer'])
    checkOneOf('onLeave', onLeave, ['interrupt', 'detach'])
    const limits = { ...base.limits(), ...readTurnLimits('limits', options.limits) }
    const turn = new RunningTurn(toUserMessage(input, options), { clock, limits, onLeave })
    listenToSignal(turn, options.signal)
    return turn
  } catch (error) {
    const turn = new RunningTurn(NO_PROMPT, { clock, limits: { turnTimeMs: Infinity, silenceMs: Infinity }, onLeave })
    turn.fail(error as Error)
    return turn
  }
}

function checkOneOf(path: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) throw new ConfigError(path, `"${value}" is not one of: ${known.join(', ')}`)
}

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
