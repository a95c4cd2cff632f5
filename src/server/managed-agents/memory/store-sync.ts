import { createHash } from 'node:crypto'
import type { Session } from '../../../index.ts'
import { ApiError } from '../../errors.ts'
import type { Actor, Memories, MemoryFacts } from './memories.ts'
import { MAX_MEMORIES } from './memories.ts'
import { MAX_CONTENT, pathProblem } from './memory-schema.ts'
import type { MemoryStores } from './memory-stores.ts'

/** By their paths, the files that were as their memories are. */
export type Synced = Record<string, SyncedFile>

interface SyncedFile {
  sha: string
  /** Of the file, by which one that has not changed is known without reading it. */
  size: number
  mtime: number
}

/** A store in the folder of a session. */
interface StorePlace {
  tenant: string
  storeId: string
  session: Session
  folder: string
  mayWrite: boolean
}

type Note = (text: string) => void

/** Files of a folder that are looked at: as many as a store has, and some that it does not take. */
const MOST_FILES = MAX_MEMORIES + 500

/** Of a file that is no memory. */
const UNFIT = 'unfit'

const NEVER = -1

async function* once(text: string): AsyncGenerator<Buffer> {
  if (text !== '') yield Buffer.from(text)
}

/** Brings a folder and a store together: what changed on one side since the last time goes to the other one. */
export class StoreSync {
  readonly #stores: MemoryStores
  readonly #memories: Memories

  constructor(stores: MemoryStores, memories: Memories) {
    this.#stores = stores
    this.#memories = memories
  }

  /** `base`: what `run` has given back the last time; undefined: the folder is new. Tells what the agent should know. */
  async run(place: StorePlace, base: Synced | undefined, note: Note): Promise<Synced> {
    const store = await this.#stores.retrieve(place.tenant, place.storeId).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error
      return undefined
    })
    if (store === undefined) {
      note('this memory store was deleted; what you write there is not kept')
      return base ?? {}
    }
    const local = await localFiles(place, base ?? {})
    if (local === undefined) {
      note(`has more than ${MOST_FILES} files; nothing was kept of your changes`)
      return base ?? {}
    }
    const mayWrite = place.mayWrite && store.archived_at === null
    const unkept = base !== undefined && mayWrite ? await this.#push(place, { base, local, note }) : new Set<string>()
    const remote = await this.#memories.all(place.tenant, place.storeId)
    await this.#pull(place, { remote, local, unkept })
    return syncedNow(place, remote, unkept)
  }

  /** Brings changes of the agent to the store. Gives the paths of files that it does not take. */
  async #push(
    place: StorePlace,
    { base, local, note }: { base: Synced; local: Synced; note: Note },
  ): Promise<Set<string>> {
    const { tenant, storeId, session } = place
    const by: Actor = { type: 'session_actor', session_id: session.key }
    const before = new Map((await this.#memories.all(tenant, storeId)).map((memory) => [memory.path, memory]))
    const unkept = new Set<string>()
    // What goes first makes room for what takes its path.
    for (const [path, { sha }] of Object.entries(base)) {
      const memory = before.get(path)
      if (local[path] !== undefined || memory === undefined) continue
      if (memory.content_sha256 !== sha) note(`${path} was changed by others while you deleted it, and is back`)
      else await this.#memories.delete(place, memory.id, undefined, by).catch(ignoreGone)
    }
    for (const [path, { sha }] of Object.entries(local)) {
      const memory = before.get(path)
      if (sha === base[path]?.sha || sha === memory?.content_sha256) continue
      const problem = await this.#keep(place, { path, sha, memory, by })
      if (problem !== undefined) {
        unkept.add(path)
        note(`${path} is not kept: it ${problem}`)
      } else if (memory !== undefined && memory.content_sha256 !== base[path]?.sha)
        note(`${path} was changed by others, too: your content has replaced theirs (${memory.memory_version_id})`)
    }
    return unkept
  }

  /** Writes one file into the store; says why that cannot be. */
  async #keep(
    place: StorePlace,
    { path, sha, memory, by }: { path: string; sha: string; memory: MemoryFacts | undefined; by: Actor },
  ): Promise<string | undefined> {
    const problem = pathProblem(path)
    if (problem !== undefined) return problem
    const content = sha === UNFIT ? undefined : await textIn(place, path)
    if (content === undefined) return `is no text in UTF-8 of at most ${MAX_CONTENT} bytes`
    try {
      if (memory === undefined) await this.#memories.create(place, { path, content }, by)
      else await this.#memories.update(place, memory.id, { content }, by)
      return undefined
    } catch (error) {
      if (error instanceof ApiError) return `was refused: ${error.message}`
      throw error
    }
  }

  /** Brings the memories to the folder, and removes what is none. */
  async #pull(
    place: StorePlace,
    { remote, local, unkept }: { remote: readonly MemoryFacts[]; local: Synced; unkept: ReadonlySet<string> },
  ): Promise<void> {
    const { session, folder, tenant } = place
    const paths = new Set(remote.map(({ path }) => path))
    for (const path of Object.keys(local))
      if (!paths.has(path) && !unkept.has(path)) await session.removeFile(folder + path)
    for (const memory of remote) {
      const { path } = memory
      if (local[path]?.sha === memory.content_sha256 || unkept.has(path)) continue
      await session.putFile(folder + path, once(await this.#memories.contentOf(tenant, memory)))
    }
  }
}

/** The files of the folder; undefined if there are too many. */
async function localFiles({ session, folder }: StorePlace, base: Synced): Promise<Synced | undefined> {
  const files = await session.files(folder, { limit: MOST_FILES + 1 })
  if (files.length > MOST_FILES) return undefined
  const found: Synced = {}
  for (const { path, size, modifiedAt } of files) {
    const name = `/${path}`
    const known = Object.hasOwn(base, name) ? base[name] : undefined
    const isKnown = known?.size === size && known.mtime === modifiedAt
    const sha = isKnown ? known.sha : size > MAX_CONTENT ? UNFIT : await shaIn(session, folder + name)
    found[name] = { sha, size, mtime: modifiedAt }
  }
  return found
}

async function shaIn(session: Session, path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of session.readFile(path)) hash.update(piece)
  return hash.digest('hex')
}

/** Undefined for what is no memory. */
async function textIn({ session, folder }: StorePlace, path: string): Promise<string | undefined> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of session.readFile(folder + path)) {
    bytes += piece.length
    if (bytes > MAX_CONTENT) return undefined
    pieces.push(piece)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(pieces))
  } catch {
    return undefined
  }
}

/** The folder as it was brought together with these memories. */
async function syncedNow(
  { session, folder }: StorePlace,
  remote: readonly MemoryFacts[],
  unkept: ReadonlySet<string>,
): Promise<Synced> {
  const files = new Map((await session.files(folder, { limit: MOST_FILES })).map((file) => [`/${file.path}`, file]))
  const synced: Synced = {}
  for (const { path, content_sha256: sha } of remote) {
    const file = unkept.has(path) ? undefined : files.get(path)
    synced[path] = { sha, size: file?.size ?? NEVER, mtime: file?.modifiedAt ?? NEVER }
  }
  return synced
}

function ignoreGone(error: unknown): void {
  if (!(error instanceof ApiError) || error.type !== 'not_found_error') throw error
}
