/** What is kept of sessions beside the pool, as a server does: it travels in their exports, and comes back with them. */
export interface ArchivePart {
  /** What archives call it: the same in all releases. */
  readonly name: string
  /** JSON of what is kept of a session; undefined: nothing. */
  read(tenant: string, key: string): Promise<object | undefined>
  /** Takes what an archive has, for a session that comes in; undefined: nothing of it is for this one. Throws ArchiveError. */
  open(value: unknown, session: { tenant: string; key: string }): OpenPart | undefined
}

/** A part that has been checked. */
export interface OpenPart {
  /** The agent that the session has from now on, unless the caller has chosen one. */
  agent: string
  /** Keeps it. */
  write(): Promise<void>
}

/** All parts of a pool, by their names. */
export type ArchiveParts = Map<string, ArchivePart>
