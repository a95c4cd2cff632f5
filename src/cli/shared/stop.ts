import { constants } from 'node:os'
import { EXIT } from './exit.ts'
import { outputGone } from './streams.ts'

/** Something outside wants a command to end. It ends in order; asking again changes nothing. */
export interface Stop extends Disposable {
  /** Its reason is the exit code. */
  readonly signal: AbortSignal
}

/** Listens for these signals, and for a reader of the output that leaves. */
export function listenForStop(signals: readonly NodeJS.Signals[]): Stop {
  const controller = new AbortController()
  const stop = (name: NodeJS.Signals): void => controller.abort(128 + constants.signals[name])
  const closed = (): void => controller.abort(EXIT.outputClosed)
  for (const name of signals) process.on(name, stop)
  outputGone.addEventListener('abort', closed)
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of signals) process.off(name, stop)
      outputGone.removeEventListener('abort', closed)
    },
  }
}

/** Settles when the command is to end. */
export const stopped = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
