import { AsyncLocalStorage } from 'node:async_hooks'

/** What the log calls a request. */
export interface RequestScope {
  readonly request_id: string
  readonly method: string
  readonly path: string
  /** Of the trace that its caller goes on, by the header `traceparent`. */
  readonly trace_id?: string
}

const scopes = new AsyncLocalStorage<RequestScope>()

/** Runs the work of a request: all that it leads to is known as this request's. */
export const inRequest = <T>(scope: RequestScope, work: () => T): T => scopes.run(scope, work)

/** The request that the code which runs now belongs to; undefined: none. Also in handlers of uncaught errors. */
export const currentRequest = (): RequestScope | undefined => scopes.getStore()

/** W3C Trace Context, version 00 and what later ones keep of it. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/

/** The trace that a header `traceparent` names; undefined for one that is missing or malformed. */
export const traceIdOf = (header: string | undefined): string | undefined => TRACEPARENT.exec(header ?? '')?.[1]
