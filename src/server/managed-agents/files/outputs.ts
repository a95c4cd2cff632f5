import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { formatWall } from '../../../clock.ts'
import { FilesError } from '../../../errors.ts'
import type { Session } from '../../../index.ts'
import { OUTPUTS } from '../../../session-paths.ts'
import { ApiError } from '../../errors.ts'
import type { Page } from '../pages.ts'
import { typeOf } from './media-types.ts'
import type { WireFile } from './wire-file.ts'

/** Of one session; older ones are not seen. */
const MOST_FILES = 1_000

/** Of a session's id, and of the path of one of its files. */
const ID = /^file_(?<session>[1-9A-Za-z]{24})(?<path>[0-9a-f]{24})$/

const SESSION = 'sesn_'

/** The session whose agent has written the file of this id; undefined: it was uploaded. */
export function sessionOfOutput(id: string): string | undefined {
  const session = ID.exec(id)?.groups?.['session']
  return session === undefined ? undefined : SESSION + session
}

interface Output {
  /** From the folder of outputs on. */
  path: string
  file: WireFile
}

/** The files that agents have written for their clients. Nothing of them is kept: an id says where its file is. */
export class Outputs {
  readonly #open: (tenant: string, key: string) => Promise<Session | undefined>

  /** `open`: the session of this API; undefined if the tenant has no such one. */
  constructor(open: (tenant: string, key: string) => Promise<Session | undefined>) {
    this.#open = open
  }

  /** Newest first; none for a session that is not there. Throws ApiError. */
  async list(
    tenant: string,
    key: string,
    { page, limit }: { page: string | undefined; limit: number },
  ): Promise<Page<WireFile>> {
    const { outputs } = await this.#of(tenant, key)
    const files = outputs.map(({ file }) => file)
    const from = page === undefined ? 0 : files.findIndex(({ id }) => id === page)
    if (from === -1)
      throw new ApiError('invalid_request_error', 'page: is not a cursor of this list, or its file is gone; begin anew')
    return { items: files.slice(from, from + limit), nextPage: files[from + limit]?.id ?? null, prevPage: null }
  }

  /** Undefined if there is no such file. */
  async find(tenant: string, id: string): Promise<WireFile | undefined> {
    return (await this.#find(tenant, id))?.file
  }

  async read(tenant: string, id: string): Promise<{ file: WireFile; stream: Readable } | undefined> {
    const found = await this.#find(tenant, id)
    if (found === undefined) return undefined
    return { file: found.file, stream: Readable.from(found.session.readFile(`${OUTPUTS}/${found.path}`)) }
  }

  /** Removes it from the workspace of its session. */
  async remove(tenant: string, id: string): Promise<void> {
    const found = await this.#find(tenant, id)
    await found?.session.removeFile(`${OUTPUTS}/${found.path}`)
  }

  async #find(tenant: string, id: string): Promise<(Output & { session: Session }) | undefined> {
    const { session, outputs } = await this.#of(tenant, sessionOfOutput(id) ?? '')
    const found = outputs.find(({ file }) => file.id === id)
    return found && session && { ...found, session }
  }

  async #of(tenant: string, key: string): Promise<{ session: Session | undefined; outputs: Output[] }> {
    const session = await this.#open(tenant, key)
    if (session === undefined) return { session, outputs: [] }
    try {
      const files = await session.files(OUTPUTS, { limit: MOST_FILES })
      return { session, outputs: files.map((file) => ({ path: file.path, file: shown(key, file) })) }
    } catch (cause) {
      if (!(cause instanceof FilesError)) throw cause
      throw new ApiError('not_found_error', `the outputs of session ${key} cannot be read: ${cause.message}`, { cause })
    }
  }
}

function shown(key: string, { path, size, modifiedAt }: { path: string; size: number; modifiedAt: number }): WireFile {
  const name = path.split('/').at(-1) ?? ''
  return {
    type: 'file',
    id: `file_${key.slice(SESSION.length)}${createHash('sha256').update(path).digest('hex').slice(0, 24)}`,
    // Clients write to a path of this name: an agent may have put anything into it.
    filename: name.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\\]/gu, '_'),
    mime_type: typeOf(name),
    size_bytes: size,
    created_at: formatWall(modifiedAt),
    downloadable: true,
    expires_at: null,
    scope: { type: 'session', id: key },
  }
}
