import { posix } from 'node:path'
import { ConfigError } from './errors.ts'

/** A folder of a session's workspace, and where sandboxed processes of the session see it, too. */
export interface View {
  /** Within the workspace; empty for the workspace itself. */
  folder: string
  at: string
}

/** The folder for what clients give to a session, and the one for what its agent gives to them. */
export const UPLOADED: string = 'uploads'
export const OUTPUTS: string = 'outputs'

/** The folder for the skills of a session: a plugin of the CLI. */
export const SKILLS: string = '.agent-skills'

/** The folders for memory stores of a session: those that its agent may change, and the others. */
export const MEMORY: string = 'memory'
export const MEMORY_READ_ONLY: string = '.agent-memory'

/** A workspace within its own uploads: programs look for `/workspace/a` there, too. */
export const NESTED: string = `${UPLOADED}/workspace`

export const UPLOADED_AT: string = '/mnt/session/uploads'

/** An outer folder before what is in it, so that each can be mounted above the one before. */
export const VIEWS: readonly View[] = [
  { folder: '', at: '/workspace' },
  { folder: OUTPUTS, at: '/mnt/session/outputs' },
  { folder: MEMORY, at: '/mnt/memory' },
  { folder: UPLOADED, at: UPLOADED_AT },
  { folder: '', at: `${UPLOADED_AT}/workspace` },
]

/** A place for a file of a session. */
export interface FilePlace {
  /** Relative to the workspace of the session. */
  within: string
  /** Where the agent finds it. */
  at: string
}

/** Bytes of one name, and of a whole path. */
const [LONGEST_NAME, LONGEST_PATH] = [255, 1_024]

function problemOf(path: string, parts: readonly string[]): string | undefined {
  if (path.includes('\\')) return 'has a "\\"; write "/" between its parts'
  if (parts.length === 0 || parts.includes('..')) return 'leads out of the workspace'
  if (/\p{Cc}/u.test(path) || !path.isWellFormed()) return 'has control characters'
  if (Buffer.byteLength(path) > LONGEST_PATH || parts.some((part) => Buffer.byteLength(part) > LONGEST_NAME))
    return `has more than ${LONGEST_NAME} bytes in a name, or ${LONGEST_PATH} in all`
  return undefined
}

/**
 * The place that a path names, relative or as sandboxed processes see it. An absolute path that is in no view lies below the uploads.
 * Throws ConfigError for what cannot be the path of a file in a workspace.
 */
export function placeOf(path: string, workspace?: string): FilePlace {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  const problem = problemOf(path, parts)
  if (problem !== undefined) throw new ConfigError('path', problem)
  const plain = parts.join('/')
  if (!path.startsWith('/')) return { within: plain, at: plain }
  const inWorkspace = workspace === undefined ? undefined : below(`/${plain}`, workspace)
  if (inWorkspace !== undefined) return { within: inWorkspace, at: `/${plain}` }
  // The innermost view first.
  const view = VIEWS.toReversed().find(({ at }) => `/${plain}` === at || below(`/${plain}`, at) !== undefined)
  const rest = view === undefined ? plain : below(`/${plain}`, view.at)
  if (rest === undefined) throw new ConfigError('path', 'is a folder of the session; name a file in it')
  const { folder, at } = VIEWS.find((first) => first.folder === (view?.folder ?? UPLOADED)) as View
  return { within: posix.join(folder, rest), at: posix.join(at, rest) }
}

/** What follows a folder in a path; undefined if it is not in there. */
const below = (path: string, folder: string): string | undefined =>
  path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined
