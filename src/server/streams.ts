import type { Context } from 'hono'
import type { Clock } from '../clock.ts'
import type { Logger } from '../telemetry/log.ts'
import type { BrowserTokens } from './auth/browser-tokens.ts'
import type { ServerEnv } from './context.ts'
import { pullStream } from './http/stream.ts'
import type { StreamEnd } from './http/stream.ts'
import type { Quotas } from './limits.ts'

type Chunk = Uint8Array<ArrayBuffer>

interface StreamAnswerOptions {
  ping?: Chunk
  /** Called once when the reader has gone: at once, also while the stream waits for its source. */
  leave: (how: StreamEnd) => void
  contentType?: string
  /** True for a stream that ends by itself: it is not cut when the browser token of its reader expires. */
  ends?: boolean
}

interface StreamsParts {
  clock: Clock
  quotas: Quotas
  tokens: BrowserTokens
  logger: Logger
}

/** The event streams of a server: counted, bounded, and cut with the tokens of their readers. */
export class Streams {
  readonly #parts: StreamsParts

  constructor(parts: StreamsParts) {
    this.#parts = parts
  }

  /** An event stream as the answer. Throws ApiError (rate_limit_error); `leave` is called then too. */
  answer(
    c: Context<ServerEnv>,
    source: AsyncIterator<Chunk, undefined>,
    { ping, leave, contentType = 'text/event-stream', ends = false }: StreamAnswerOptions,
  ): Response {
    const { clock, logger, tokens } = this.#parts
    const { requestId, caller, session, held } = c.var
    const release = this.#open(caller.tenant, leave)
    c.set('held', undefined)
    const begunAt = clock.now()
    const cut = new AbortController()
    const unwatch =
      caller.scope === undefined ? undefined : tokens.watch(caller.scope, () => cut.abort(), { untilExpiry: !ends })
    const body = pullStream(source, {
      clock,
      cut: cut.signal,
      ...(ping === undefined ? {} : { ping }),
      onEnd(how) {
        release()
        unwatch?.()
        leave(how)
        held?.[Symbol.dispose]()
        const facts = { request_id: requestId, tenant: caller.tenant, session, ms: Math.round(clock.now() - begunAt) }
        logger[how === 'cut' ? 'warn' : 'debug'](`stream ${how}`, facts)
      },
    })
    return c.body(body, 200, {
      'content-type': contentType,
      'cache-control': 'no-store',
      // A proxy that collects the stream makes it none.
      'x-accel-buffering': 'no',
    })
  }

  #open(tenant: string, leave: StreamAnswerOptions['leave']): () => void {
    try {
      return this.#parts.quotas.openStream(tenant)
    } catch (error) {
      leave('left')
      throw error
    }
  }
}
