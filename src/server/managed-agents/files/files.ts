import type { Readable } from 'node:stream'
import type { Clock } from '../../../clock.ts'
import { formatWall, parseWall } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { formatSize } from '../../../units.ts'
import { ApiError } from '../../errors.ts'
import { PREFIXES, newId } from '../ids.ts'
import { listKept, toRow } from '../kept.ts'
import type { Page } from '../pages.ts'
import { rest } from '../pages.ts'
import type { FileContents } from './file-contents.ts'
import type { Outputs } from './outputs.ts'
import { sessionOfOutput } from './outputs.ts'
import { readUpload } from './upload.ts'
import type { WireFile } from './wire-file.ts'
import { keepNewest } from '../../../newest.ts'

/** A file as it is kept. */
interface StoredFile extends WireFile {
  updated_at: string
  archived_at: null
}

/** What one tenant may have. */
export interface FileLimits {
  /** Of them. */
  files: number
  /** Bytes of all. */
  fileStorage: number
  /** Bytes of one. */
  fileSize: number
}

export interface FileListRequest {
  page: string | undefined
  limit: number
  ids: readonly string[] | undefined
  scopeId: string | undefined
}

interface FilesContext {
  store: ResourceStore
  /** Undefined: this server keeps no files. */
  contents: FileContents | undefined
  outputs: Outputs
  limits: FileLimits
  clock: Clock
  warn: (message: string, error: unknown) => void
}

/** How long a count of a tenant's files holds. In between, what comes and goes here is added. */
const RECOUNT_MS = 10 * 60_000

/** Nothing that is being uploaded is older. */
const LEFTOVER_MS = 24 * 60 * 60_000

const PAGE = { limit: 200, maxSize: 2 ** 20 }

/** Tenants whose files are counted are remembered, the newest of them. */
const MAX_TENANTS = 10_000

/** What a tenant has, with what is being uploaded. */
interface Usage {
  files: number
  bytes: number
  countedAt: number
}

/** The files that tenants upload: what is known of them is in the store, their contents are on the disk of this host. */
export class Files {
  readonly #context: FilesContext
  readonly #usage = new Map<string, Promise<Usage>>()

  constructor(context: FilesContext) {
    this.#context = context
  }

  /** Takes a file from a form. Throws ApiError. */
  async upload(tenant: string, request: Request): Promise<WireFile> {
    const contents = this.#contents()
    const { store, limits, clock } = this.#context
    const usage = await this.#usageOf(tenant)
    if (usage.files >= limits.files) throw full(`its ${limits.files} files`)
    const id = newId('file')
    let held = 0
    const admit = (bytes: number): void => {
      if (held + bytes > limits.fileSize)
        throw new ApiError('request_too_large', `a file has at most ${formatSize(limits.fileSize)}`)
      if (usage.bytes + bytes > limits.fileStorage) throw full(`its ${formatSize(limits.fileStorage)} of files`)
      held += bytes
      usage.bytes += bytes
    }
    usage.files += 1
    try {
      if (Number(request.headers.get('content-length') ?? 0) > limits.fileSize + FORM_BYTES)
        throw new ApiError('request_too_large', `a file has at most ${formatSize(limits.fileSize)}`)
      const { filename, mimeType, expiresInSeconds, kept } = await readUpload(request, (pieces) =>
        contents.write(tenant, id, pieces, admit),
      )
      const now = clock.wall()
      const file: StoredFile = {
        type: 'file',
        id,
        filename,
        mime_type: mimeType,
        size_bytes: kept,
        created_at: formatWall(now),
        downloadable: true,
        expires_at: expiresInSeconds === undefined ? null : formatWall(now + expiresInSeconds * 1000),
        scope: null,
        updated_at: formatWall(now),
        archived_at: null,
      }
      await store.create(toRow('file', tenant, file))
      return shown(file)
    } catch (error) {
      usage.files -= 1
      usage.bytes -= held
      await contents.remove(tenant, id)
      throw error
    }
  }

  /** Throws ApiError (not_found_error), also for another tenant's and one that has expired. */
  async retrieve(tenant: string, id: string): Promise<WireFile> {
    this.#contents()
    if (sessionOfOutput(id) !== undefined)
      return (await this.#context.outputs.find(tenant, id)) ?? Promise.reject(notFound(id))
    const row = await this.#context.store.get('file', tenant, id)
    const file = row && (JSON.parse(row.body) as StoredFile)
    if (file === undefined || this.#hasExpired(file)) throw notFound(id)
    return shown(file)
  }

  /** `size`: undefined for a file that its agent may be writing now. Throws ApiError. */
  async content(tenant: string, id: string): Promise<{ file: WireFile; size: number | undefined; stream: Readable }> {
    if (sessionOfOutput(id) !== undefined) {
      const output = await this.#context.outputs.read(tenant, id)
      if (output === undefined) throw notFound(id)
      return { ...output, size: undefined }
    }
    const file = await this.retrieve(tenant, id)
    const found = await this.#contents().read(tenant, id)
    if (found === undefined)
      throw new ApiError('not_found_error', `the content of file ${id} is not at this server; another host may have it`)
    return { file, ...found }
  }

  /** Throws ApiError. */
  async delete(tenant: string, id: string): Promise<{ type: 'file_deleted'; id: string }> {
    const { size_bytes: size } = await this.retrieve(tenant, id)
    if (sessionOfOutput(id) !== undefined) {
      await this.#context.outputs.remove(tenant, id)
      return { type: 'file_deleted', id }
    }
    await this.#remove(tenant, id)
    const usage = await this.#usage.get(tenant)
    if (usage !== undefined) {
      usage.files -= 1
      usage.bytes -= size
    }
    return { type: 'file_deleted', id }
  }

  /** Newest first, or those of the ids that there are. Throws ApiError. */
  async list(tenant: string, { page, limit, ids, scopeId }: FileListRequest): Promise<Page<WireFile>> {
    this.#contents()
    if (ids !== undefined) {
      const found = await Promise.all([...new Set(ids)].map((id) => this.retrieve(tenant, id).catch(() => undefined)))
      const items = found.flatMap((file) => (file === undefined || !isIn(file, scopeId) ? [] : file))
      return { items, nextPage: null, prevPage: null }
    }
    if (scopeId !== undefined) return this.#context.outputs.list(tenant, scopeId, { page, limit })
    const found = await listKept<StoredFile>(this.#context.store, {
      kind: 'file',
      tenant,
      parent: undefined,
      page,
      limit,
      includeArchived: false,
      from: undefined,
      to: undefined,
      matches: (file) => !this.#hasExpired(file),
    })
    return { ...found, items: found.items.map(shown) }
  }

  /** Removes the contents of a tenant's files: what is known of them goes with its resources. */
  async forget(tenant: string): Promise<void> {
    this.#usage.delete(tenant)
    await this.#context.contents?.clear(tenant)
  }

  #contents(): FileContents {
    const { contents } = this.#context
    if (contents !== undefined) return contents
    throw new ApiError('not_found_error', '/v1/files: this server keeps no files; give createServer() a fileDir')
  }

  #hasExpired({ expires_at: at }: WireFile): boolean {
    return at !== null && parseWall(at) <= this.#context.clock.wall()
  }

  async #remove(tenant: string, id: string): Promise<void> {
    // First what leads to it: a content without is swept.
    await this.#context.store.remove('file', tenant, id)
    await this.#context.contents?.remove(tenant, id)
  }

  /** Counted now and then: other hosts have their part. */
  async #usageOf(tenant: string): Promise<Usage> {
    const known = this.#usage.get(tenant)
    const found = await known?.catch(() => undefined)
    if (known !== undefined && found !== undefined && this.#context.clock.now() - found.countedAt < RECOUNT_MS)
      return found
    const counting = this.#usage.get(tenant) === known ? this.#count(tenant) : this.#usage.get(tenant)
    const fresh = counting ?? this.#count(tenant)
    this.#usage.delete(tenant)
    this.#usage.set(tenant, fresh)
    keepNewest(this.#usage, MAX_TENANTS)
    return fresh
  }

  /** Also removes what has expired, and what uploads that failed have left. */
  async #count(tenant: string): Promise<Usage> {
    const { store, clock, warn } = this.#context
    const usage = { files: 0, bytes: 0, countedAt: clock.now() }
    const known = new Set<string>()
    const expired: string[] = []
    let after: { createdAt: number; id: string } | undefined
    for (;;) {
      const { rows, more } = await store.list({
        kind: 'file',
        tenant,
        order: 'asc',
        after,
        includeArchived: true,
        ...PAGE,
      })
      for (const { id, createdAt, body } of rows) {
        const file = JSON.parse(body) as StoredFile
        after = { createdAt, id }
        if (this.#hasExpired(file)) {
          expired.push(id)
          continue
        }
        known.add(id)
        usage.files += 1
        usage.bytes += file.size_bytes
      }
      if (!more) break
      await rest()
    }
    try {
      for (const id of expired) await this.#remove(tenant, id)
      await this.#context.contents?.sweep(tenant, PREFIXES.file, known, clock.wall() - LEFTOVER_MS)
    } catch (error) {
      warn('expired files could not be removed', error)
    }
    return usage
  }
}

/** What a form has beside its file. */
const FORM_BYTES = 64 * 1024

const isIn = ({ scope }: WireFile, scopeId: string | undefined): boolean =>
  scopeId === undefined || scope?.id === scopeId

const shown = ({ updated_at: _updated, archived_at: _archived, ...file }: StoredFile): WireFile => file

const notFound = (id: string): ApiError => new ApiError('not_found_error', `file ${id} was not found`)

const full = (what: string): ApiError =>
  new ApiError('rate_limit_error', `this tenant has ${what}; delete some`, { headers: { 'x-should-retry': 'false' } })
