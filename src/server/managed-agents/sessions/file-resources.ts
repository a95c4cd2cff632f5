import { z } from 'zod'
import { formatWall } from '../../../clock.ts'
import { ConfigError } from '../../../errors.ts'
import type { Session } from '../../../index.ts'
import {
  MEMORY,
  MEMORY_READ_ONLY,
  NESTED,
  OUTPUTS,
  SKILLS,
  UPLOADED,
  UPLOADED_AT,
  placeOf,
} from '../../../session-paths.ts'
import { formatSize } from '../../../units.ts'
import { ApiError } from '../../errors.ts'
import type { Files } from '../files/files.ts'
import { newId } from '../ids.ts'

/** A file that is to be in the workspace of a session. */
export interface FileMount {
  type: 'file'
  file_id: string
  mount_path?: string | null | undefined
}

/** The same as the wire shows it, and as it is kept. */
export interface FileResource {
  type: 'file'
  id: string
  file_id: string
  mount_path: string
  created_at: string
  updated_at: string
}

/** Of one session. */
export const MAX_RESOURCES = 100

export const fileMount: z.ZodType<FileMount> = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('file'),
      file_id: z.string().min(1).max(128),
      mount_path: z.string().min(1).max(1_024).nullish(),
    }),
  ],
  {
    error:
      'type must be file: memory stores are attached when a session begins, and this server has no github_repository',
  },
)

export const filesOf = (resources: readonly { type: string }[]): FileResource[] =>
  resources.filter((resource): resource is FileResource => resource.type === 'file')

/** What agents may only read. */
const RESERVED: readonly string[] = [SKILLS, MEMORY_READ_ONLY]

/** Says of a path that cannot be used which field has it. */
function refused(error: unknown): never {
  throw error instanceof ConfigError
    ? new ApiError('invalid_request_error', `mount_path: ${error.problem}`, { cause: error })
    : error
}

interface Target {
  tenant: string
  session: Session
  mounted: readonly { type: string }[]
}

/** Copies uploaded files into workspaces. */
export class Mounting {
  readonly #files: Files
  readonly #now: () => number
  readonly #maxBytes: number

  /** `maxBytes`: of all files of one session. */
  constructor(files: Files, now: () => number, maxBytes: number) {
    this.#files = files
    this.#now = now
    this.#maxBytes = maxBytes
  }

  /** Makes the folders that its agent finds at fixed places, if it runs in a sandbox that can show them. */
  async prepare(session: Session): Promise<void> {
    if (!session.isSandboxed) return
    await session.makeFolders([OUTPUTS, NESTED]).catch((error: unknown) => {
      // It works in a directory of its agent: that is the operator's, and stays as it is.
      if (!(error instanceof ConfigError)) throw error
    })
  }

  /** Throws ApiError, FilesError. */
  async mount(
    { tenant, session, mounted: given }: Target,
    { file_id: fileId, mount_path: path }: FileMount,
  ): Promise<FileResource> {
    const mounted = filesOf(given)
    if (given.length >= MAX_RESOURCES)
      throw new ApiError('invalid_request_error', `resources: a session has at most ${MAX_RESOURCES}`)
    const file = await this.#files.retrieve(tenant, fileId)
    const named = path ?? (session.isSandboxed ? `${UPLOADED_AT}/${fileId}` : `${UPLOADED}/${file.filename}`)
    const { within, at } = await session.placeOf(named).catch(refused)
    const top = within.split('/')[0]?.toLowerCase() ?? ''
    if (RESERVED.includes(top) || (top === MEMORY && given.some(({ type }) => type === 'memory_store')))
      throw new ApiError('invalid_request_error', `mount_path: ${top} is for skills or memory; name another place`)
    const { cwd } = await session.info()
    if (mounted.some(({ mount_path: taken }) => placeOf(taken, cwd).within === within))
      throw new ApiError('invalid_request_error', `mount_path: ${at} has another resource of this session`)
    await this.#checkSize(tenant, mounted, file.size_bytes)
    const { stream } = await this.#files.content(tenant, fileId)
    try {
      await session.putFile(named, stream as AsyncIterable<Buffer>)
    } catch (error) {
      refused(error)
    } finally {
      stream.destroy()
    }
    const created = formatWall(this.#now())
    return {
      type: 'file',
      id: newId('resource'),
      file_id: fileId,
      mount_path: at,
      created_at: created,
      updated_at: created,
    }
  }

  async unmount(session: Session, path: string): Promise<void> {
    await session.removeFile(path)
  }

  /** Workspaces count for no limit of a tenant, so the files that are copied into one do. */
  async #checkSize(tenant: string, mounted: readonly FileResource[], more: number): Promise<void> {
    const ids = mounted.map(({ file_id: id }) => id)
    const known = await Promise.all(ids.map((id) => this.#files.retrieve(tenant, id).catch(() => undefined)))
    const bytes = known.reduce((sum, file) => sum + (file?.size_bytes ?? 0), more)
    if (bytes > this.#maxBytes)
      throw new ApiError(
        'invalid_request_error',
        `resources: the files of a session have at most ${formatSize(this.#maxBytes)}`,
      )
  }
}
