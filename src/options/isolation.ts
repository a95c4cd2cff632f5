import { z } from 'zod'
import { validate } from './section.ts'

/** What keeps agents apart from the host and from each other. */
export interface IsolationOptions {
  /**
   * Where the credential of the model is. `"proxy"`: in a process of its own, through which agents reach the model; their environments
   * hold a token that is good for nothing else. What the proxy cannot hold stays in the environment, and `doctor` says why.
   * `"environment"`: in the environment of each agent. Default `"proxy"`.
   */
  credentials?: 'proxy' | 'environment'
}

export interface Isolation {
  readonly credentials: 'proxy' | 'environment'
}

const schema = z.strictObject({
  credentials: z.enum(['proxy', 'environment'], { error: 'is neither "proxy" nor "environment"' }).optional(),
})

export function readIsolation(input: IsolationOptions | undefined): Isolation {
  const { credentials = 'proxy' } = validate('isolation', schema, input ?? {})
  return Object.freeze({ credentials })
}
