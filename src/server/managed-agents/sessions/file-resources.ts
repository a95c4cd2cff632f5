import { z } from 'zod'
import { formatWall } from '../../../clock.ts'
import { ConfigError } from '../../../errors.ts'
import type { Session } from '../../../index.ts'
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

/** Where files are without a path. */
const DEFAULT_FOLDER = 'uploads'

export const fileMount: z.ZodType<FileMount> = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('file'),
      file_id: z.string().min(1).max(128),
      mount_path: z.string().min(1).max(1_024).nullish(),
    }),
  ],
  { error: 'type must be file: this server has neither github_repository nor memory_store yet' },
)

interface Target {
  tenant: string
  session: Session
  mounted: readonly FileResource[]
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

  /** Throws ApiError, FilesError. */
  async mount(
    { tenant, session, mounted }: Target,
    { file_id: fileId, mount_path: path }: FileMount,
  ): Promise<FileResource> {
    if (mounted.length >= MAX_RESOURCES)
      throw new ApiError('invalid_request_error', `resources: a session has at most ${MAX_RESOURCES}`)
    const file = await this.#files.retrieve(tenant, fileId)
    const at = path ?? `${DEFAULT_FOLDER}/${file.filename}`
    if (at.startsWith('/'))
      throw new ApiError(
        'invalid_request_error',
        'mount_path: must be relative to the workspace of the session: this server mounts nothing at absolute paths',
      )
    if (mounted.some(({ mount_path: taken }) => taken === at))
      throw new ApiError('invalid_request_error', `mount_path: ${at} has another resource of this session`)
    await this.#checkSize(tenant, mounted, file.size_bytes)
    const { stream } = await this.#files.content(tenant, fileId)
    try {
      await session.putFile(at, stream as AsyncIterable<Buffer>)
    } catch (error) {
      throw error instanceof ConfigError
        ? new ApiError('invalid_request_error', `mount_path: ${error.problem}`, { cause: error })
        : error
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
