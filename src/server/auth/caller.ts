/** What browser tokens begin with. */
export const BROWSER_TOKEN = 'cbt_'

/** What a browser token opens. */
export interface Scope {
  /** The token's id. */
  readonly id: string
  readonly agents: readonly string[]
  readonly sessions: readonly string[]
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** The sender of a request: its tenant, and its name in logs. */
export interface Caller {
  readonly tenant: string
  readonly name: string
  /** Set for a browser token: nothing else is open to it. */
  readonly scope?: Scope
}
