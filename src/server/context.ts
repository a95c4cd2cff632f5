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

/** Another host has taken this request from a client, and has passed it on. */
export interface PassedOn {
  /** The host's id. */
  from: string
  requestId: string
  mint: Mint
  /** A stream is opened again behind this id. */
  reopens: boolean
}

/** Makes the ids of the events that a request adds, the same ones each time that it is tried. */
export interface Mint {
  /** Random, in hex. */
  seed: string
  /** An earlier try may have done what is asked. */
  isRepeat: boolean
}

/** What a request knows. */
export interface ServerEnv {
  Bindings: { passedOn?: PassedOn }
  Variables: {
    /** Undefined without other hosts. */
    mint: Mint | undefined
    /** Keeps the session at this host while the answer is a stream. */
    held: Disposable | undefined
    requestId: string
    bodies: Bodies
    caller: Caller
    /** For the log: which session the request was about. */
    session: string | undefined
  }
}
