/** What becomes of a tool call: it runs, it waits for an answer, or it is refused. */
export type Permission = 'allow' | 'ask' | 'deny'

/** What is known of an agent's permissions before the CLI decides. */
export interface Permissions {
  /** Of a call, by the CLI's name of its tool; undefined: the CLI decides. */
  readonly of: (toolName: string) => Permission | undefined
  /** True when processes tell that the CLI comes to a call: right before it decides. */
  readonly callsTold: boolean
}
