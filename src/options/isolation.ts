import { z } from 'zod'
import { isAbsolute } from 'node:path'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** What keeps agents apart from the host and from each other. */
export interface IsolationOptions {
  /**
   * The boundary around each process. `"none"`: none; it has the rights of the host's user. `"bubblewrap"`: a mount, process and
   * user namespace of its own by `bwrap`, in which it sees the system, its tenant's home, its own directory, and nothing else.
   * `"auto"`: the strongest that works here. Default `"none"`.
   */
  mode?: 'none' | 'bubblewrap' | 'auto'
  /** What processes reach over the network. `"open"`: everything. `"none"`: the model alone, by the credential proxy. Default `"open"`. */
  egress?: 'open' | 'none'
  /** Folders that every sandboxed process sees beside the system and its own: programs of MCP servers, for example. Absolute paths. */
  paths?: { read?: readonly string[]; write?: readonly string[] }
  /**
   * Where the credential of the model is. `"proxy"`: in a process of its own, through which agents reach the model; their environments
   * hold a token that is good for nothing else. What the proxy cannot hold stays in the environment, and `doctor` says why.
   * `"environment"`: in the environment of each agent. Default `"proxy"`.
   */
  credentials?: 'proxy' | 'environment'
}

export interface Isolation {
  readonly mode: 'none' | 'bubblewrap'
  readonly egress: 'open' | 'none'
  readonly paths: { readonly read: readonly string[]; readonly write: readonly string[] }
  readonly credentials: 'proxy' | 'environment'
}

const folders = z.array(z.string().refine((path) => isAbsolute(path), { error: 'is not an absolute path' })).optional()

const schema = z.strictObject({
  mode: z.enum(['none', 'bubblewrap', 'auto'], { error: 'is none of "none", "bubblewrap" and "auto"' }).optional(),
  egress: z.enum(['open', 'none'], { error: 'is neither "open" nor "none"' }).optional(),
  paths: z.strictObject({ read: folders, write: folders }).optional(),
  credentials: z.enum(['proxy', 'environment'], { error: 'is neither "proxy" nor "environment"' }).optional(),
})

export function readIsolation(input: IsolationOptions | undefined): Isolation {
  const given = validate('isolation', schema, input ?? {})
  const { mode = 'none', egress = 'open', paths = {}, credentials = 'proxy' } = given
  if (mode === 'none' && egress === 'none')
    throw new ConfigError('isolation.egress', 'needs a boundary that holds it: set isolation.mode to "bubblewrap"')
  if (egress === 'none' && credentials === 'environment')
    throw new ConfigError(
      'isolation.egress',
      'leaves only the credential proxy as a way to the model; set isolation.credentials to "proxy", or isolation.egress to "open"',
    )
  const { read = [], write = [] } = paths
  // It is the only boundary there is by now.
  return Object.freeze({ mode: mode === 'none' ? mode : 'bubblewrap', egress, paths: { read, write }, credentials })
}
