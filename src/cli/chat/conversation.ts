/** A conversation that `chat` holds, with a pool of its own or with a server. */
export interface Conversation {
  readonly key: string
  /** Says which conversation this is and, to a person, what was said before. */
  greet(): Promise<void>
  /** One turn. Resolves with what went wrong, in words; undefined if nothing did. */
  say(text: string): Promise<string | undefined>
  /** Stops the turn that runs. */
  interrupt(): void
  /** What `/info` shows. */
  facts(): Promise<Record<string, string | number | undefined>>
  /** Changes to this conversation, or to a new one. Rejects with PoolError: then nothing has changed. */
  change(key: string | undefined): Promise<void>
  /** Ends whatever runs, at once. */
  leave(): void
}

/** The first of `KEY-2`, `KEY-3`, … that is free. */
export async function freeKey(key: string, isTaken: (key: string) => Promise<boolean>): Promise<string> {
  for (let number = 2; ; number += 1) if (!(await isTaken(`${key}-${number}`))) return `${key}-${number}`
}
