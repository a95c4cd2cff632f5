import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the event loop is looked at. */
const EVERY_MS = 50

const NS_PER_MS = 1e6

/** How late the event loop of this process runs what is due. */
export class EventLoopLag {
  readonly #delays = monitorEventLoopDelay({ resolution: EVERY_MS })

  constructor() {
    this.#delays.enable()
  }

  /** Milliseconds since the last call, by quantile; zeros if nothing was measured since then. */
  take(): Record<'0.5' | '0.99' | '1', number> {
    const lag = (percent: number): number =>
      this.#delays.count === 0 ? 0 : Math.max(0, this.#delays.percentile(percent) / NS_PER_MS - EVERY_MS)
    const lags = { '0.5': lag(50), '0.99': lag(99), '1': lag(100) }
    this.#delays.reset()
    return lags
  }

  close(): void {
    this.#delays.disable()
  }
}
