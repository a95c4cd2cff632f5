import type { Context } from 'hono'
import type { Clock } from '../clock.ts'
import type { Pool } from '../index.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientTools } from './ag-ui/client-tools.ts'
import type { Bodies } from './bodies.ts'
import type { BrowserTokens } from './browser-tokens.ts'
import type { Caller } from './caller.ts'
import type { Quotas } from './limits.ts'
import type { AgUi } from './options.ts'
import type { Questions } from './questions.ts'
import { pullStream } from './stream.ts'
import type { StreamEnd } from './stream.ts'
import type { TurnFeeds } from './turn-feed.ts'

/** What the server does now. Only a `ready` one takes new turns from a load balancer. */
export type ServerState = 'starting' | 'ready' | 'draining'

/** What every route may use. */
export interface ServerContext {
  readonly pool: Pool
  readonly clock: Clock
  readonly quotas: Quotas
  readonly feeds: TurnFeeds
  /** What agents ask people. */
  readonly questions: Questions
  /** Undefined: the tools of front ends are given to no agent. */
  readonly clientTools: ClientTools | undefined
  readonly tokens: BrowserTokens
  readonly logger: Logger
  /** How long a turn goes on whose reader at `/sessions/{id}/messages` has gone, in milliseconds. */
  readonly disconnectGraceMs: number
  readonly agUi: AgUi
  /** The agent of new sessions if the request names none. */
  readonly defaultAgent: () => string
  readonly state: () => ServerState
}

/** What a request knows. */
export interface ServerEnv {
  Variables: {
    requestId: string
    bodies: Bodies
    caller: Caller
    /** For the log: which session the request was about. */
    session: string | undefined
  }
}

type Chunk = Uint8Array<ArrayBuffer>

interface StreamAnswerOptions {
  ping?: Chunk
  /** Called once when nobody reads any more: at once, also while the source is waited for. */
  leave: (how: StreamEnd) => void
  contentType?: string
  /** True for a stream that ends by itself: it is not cut when the browser token of its reader expires. */
  ends?: boolean
}

/** An event stream as the answer, counted and bounded. Throws ApiError (rate_limit_error); `leave` is called then too. */
export function streamAnswer(
  context: ServerContext,
  c: Context<ServerEnv>,
  source: AsyncIterator<Chunk, undefined>,
  { ping, leave, contentType = 'text/event-stream', ends = false }: StreamAnswerOptions,
): Response {
  const { clock, quotas, logger, tokens } = context
  const { requestId, caller, session } = c.var
  let release: () => void
  try {
    release = quotas.openStream(caller.tenant)
  } catch (error) {
    leave('left')
    throw error
  }
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
