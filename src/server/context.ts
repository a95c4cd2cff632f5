import type { Bodies } from './http/bodies.ts'
import type { Caller } from './auth/caller.ts'

/** What the server does now. Only a `ready` one takes new turns from a load balancer. */
export type ServerState = 'starting' | 'ready' | 'draining'

/** What of a server changes while it runs. */
export interface ServerSettings {
  state: ServerState
  /** The agent of new sessions if the request names none. Undefined: the first one there is. */
  defaultAgent: string | undefined
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
