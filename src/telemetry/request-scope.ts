import { AsyncLocalStorage } from 'node:async_hooks'

/** What the log calls a request. */
export interface RequestScope {
  readonly request_id: string
  readonly method: string
  readonly path: string
  /** The trace that its caller goes on with: a well-formed header `traceparent`. */
  readonly traceparent?: string
}

const scopes = new AsyncLocalStorage<RequestScope>()

/** Runs the work of a request: all that it leads to is known as this request's. */
export const inRequest = <T>(scope: RequestScope, work: () => T): T => scopes.run(scope, work)

/** The request that the code which runs now belongs to; undefined: none. Also in handlers of uncaught errors. */
export const currentRequest = (): RequestScope | undefined => scopes.getStore()
