import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { formatWall } from '../../../clock.ts'
import { FilesError } from '../../../errors.ts'
import type { Session } from '../../../index.ts'
import { MEMORY, MEMORY_READ_ONLY } from '../../../session-paths.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { toRow } from '../kept.ts'
import type { Memories } from './memories.ts'
import type { MemoryStores } from './memory-stores.ts'
import { StoreSync } from './store-sync.ts'
import type { Synced } from './store-sync.ts'

/** A memory store that a session is to have. */
export interface MemoryMount {
  type: 'memory_store'
  memory_store_id: string
  access?: 'read_write' | 'read_only' | null | undefined
  instructions?: string | null | undefined
}

/** The same as the wire shows it, and as it is kept. */
export interface MemoryResource {
  type: 'memory_store'
  memory_store_id: string
  access: 'read_write' | 'read_only'
  instructions: string | null
  /** As it was when the session began. */
  name: string
  description: string
  mount_path: string
}

export const memoryMount: z.ZodType<MemoryMount> = z.strictObject({
  type: z.literal('memory_store'),
  memory_store_id: z.string().min(1).max(128),
  access: z.enum(['read_write', 'read_only']).nullish(),
  instructions: z.string().max(4_096).nullish(),
})

/** Of one session. */
const MAX_STORES = 8

/** Where sandboxed processes see all of them. */
const SEEN_AT = '/mnt/memory'

/** Says whether a workspace is the one that was synchronised last. */
const MARK = `${MEMORY_READ_ONLY}/.mark`

const LONGEST_MARK = 100

/** What the agent is told of one turn. */
const [MOST_NOTES, LONGEST_NOTE] = [20, 300]

interface Target {
  tenant: string
  session: Session
  resources: readonly { type: string }[]
}

/** What was the same in the folders and the stores when they were synchronised last. */
interface MountState {
  id: string
  mark: string
  stores: Record<string, Synced>
  /** What the agent is to be told. */
  notes: string[]
  created_at: string
  updated_at: string
  archived_at: null
}

interface MountsContext {
  store: ResourceStore
  stores: MemoryStores
  memories: Memories
  /** Milliseconds since the epoch. */
  now: () => number
  warn: (message: string, error: unknown) => void
}

export const memoriesOf = (resources: readonly { type: string }[]): MemoryResource[] =>
  resources.filter((resource): resource is MemoryResource => resource.type === 'memory_store')

/** The last part of the place of a store. */
const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 64) || 'memory'

const partOf = ({ mount_path: path }: MemoryResource): string => path.split('/').at(-1) ?? ''

const folderOf = (resource: MemoryResource): string =>
  `${resource.access === 'read_only' ? MEMORY_READ_ONLY : MEMORY}/${partOf(resource)}`

/** What an agent is told of its stores. */
export function memoryPrompt(resources: readonly { type: string }[]): string | undefined {
  const memories = memoriesOf(resources)
  if (memories.length === 0) return undefined
  const lines = memories.map(({ name, mount_path: path, access, description, instructions }) =>
    [
      `- ${path} (${JSON.stringify(name)}, ${access === 'read_only' ? 'read-only' : 'you may change it'})`,
      ...(description === '' ? [] : [`  ${description}`]),
      ...(instructions === null ? [] : [`  ${instructions}`]),
    ].join('\n'),
  )
  return `# Memory\n\nThese folders hold memories that outlast this session, as text files of at most 100 kB. Read those that matter for your task.\n\n${lines.join('\n')}`
}

/** Gives sessions the memories of stores as files, and brings what agents change back into the stores. */
export class MemoryMounts {
  readonly #context: MountsContext
  readonly #sync: StoreSync
  /** Of sessions with turns that may have changed memories: their ends. */
  readonly #following = new Map<string, { tenant: string; session: Session; done: Promise<void> }>()

  constructor(context: MountsContext) {
    this.#context = context
    this.#sync = new StoreSync(context.stores, context.memories)
  }

  /** What a session has of these stores. Throws ApiError for one that it cannot have. */
  async attach(tenant: string, mounts: readonly MemoryMount[]): Promise<MemoryResource[]> {
    if (mounts.length > MAX_STORES)
      throw new ApiError('invalid_request_error', `resources: a session has at most ${MAX_STORES} memory stores`)
    const made: MemoryResource[] = []
    for (const { memory_store_id: id, access, instructions } of mounts) {
      const store = await this.#context.stores.retrieve(tenant, id).catch((cause: unknown) => {
        if (!(cause instanceof ApiError)) throw cause
        throw new ApiError('invalid_request_error', `resources: ${cause.message}`, { cause })
      })
      if (store.archived_at !== null)
        throw new ApiError('invalid_request_error', `resources: memory store ${id} is archived`)
      if (made.some((other) => other.memory_store_id === id))
        throw new ApiError('invalid_request_error', `resources: memory store ${id} is there twice`)
      const slug = slugOf(store.name)
      const alike = made.filter((other) => slugOf(other.name) === slug).length
      const resource: MemoryResource = {
        type: 'memory_store',
        memory_store_id: id,
        access: access ?? 'read_write',
        instructions: instructions ?? null,
        name: store.name,
        description: store.description,
        mount_path: `${slug}${alike === 0 ? '' : `-${alike + 1}`}`,
      }
      made.push(resource)
    }
    return made
  }

  /** The same with the places where the agent finds them. */
  placed(session: Session, resources: readonly { type: string }[]): MemoryResource[] {
    return memoriesOf(resources).map((resource) => ({
      ...resource,
      mount_path: session.isSandboxed ? `${SEEN_AT}/${partOf(resource)}` : folderOf(resource),
    }))
  }

  /** Brings folders and stores together, if the session has any, and gives what its agent is to be told. Not while a turn runs. */
  async before(target: Target): Promise<string[]> {
    if (memoriesOf(target.resources).length === 0) return []
    await this.#following.get(placeOf(target))?.done
    return this.#synchronise(target, true)
  }

  /** Brings them together at the end of a turn. `ended` settles then. */
  follow(target: Target, ended: Promise<unknown>): void {
    if (memoriesOf(target.resources).length === 0) return
    const place = placeOf(target)
    const sync = async (): Promise<void> => {
      try {
        await ended.catch(() => undefined)
        await this.#synchronise(target, false)
      } catch (error) {
        this.#context.warn(`memories of session ${target.session.key} were not synchronised`, error)
      } finally {
        if (this.#following.get(place) === entry) this.#following.delete(place)
      }
    }
    const entry = { tenant: target.tenant, session: target.session, done: sync() }
    this.#following.set(place, entry)
  }

  /** Resolves when the ends of turns that clients know of are in the stores of this tenant. `isOver`: of the turn of a session. */
  async settled(tenant: string, isOver: (session: Session) => Promise<boolean>): Promise<void> {
    for (const entry of this.#following.values()) {
      if (entry.tenant !== tenant) continue
      if (await isOver(entry.session).catch(() => false)) await entry.done
    }
  }

  /** Forgets what was synchronised with a session. */
  forget(tenant: string, key: string): Promise<void> {
    return this.#context.store.remove('memory_mount', tenant, key)
  }

  async #synchronise({ tenant, session, resources }: Target, tell: boolean): Promise<string[]> {
    const { store, now } = this.#context
    const row = await store.get('memory_mount', tenant, session.key)
    const state = row && (JSON.parse(row.body) as MountState)
    const isFresh = state === undefined || (await markIn(session)) !== state.mark
    const mark = isFresh ? randomUUID() : state.mark
    if (isFresh) await this.#begin(session, resources, mark)
    const stores: Record<string, Synced> = {}
    const notes = [...(state?.notes ?? [])]
    for (const resource of memoriesOf(resources)) {
      const { memory_store_id: id, access } = resource
      const base = isFresh ? undefined : (state.stores[id] ?? {})
      const place = { tenant, storeId: id, session, folder: folderOf(resource), mayWrite: access === 'read_write' }
      stores[id] = await this.#sync.run(place, base, (note) => {
        if (notes.length < MOST_NOTES) notes.push(`${resource.mount_path}: ${note}`.slice(0, LONGEST_NOTE))
      })
    }
    const at = formatWall(now())
    const after: MountState = {
      id: session.key,
      mark,
      stores,
      notes: tell ? [] : notes,
      created_at: state?.created_at ?? at,
      updated_at: at,
      archived_at: null,
    }
    // It may have been deleted meanwhile, with all that was kept of it.
    if ((await store.get('session', tenant, session.key)) !== undefined)
      await this.#keep(row, toRow('memory_mount', tenant, after))
    return notes
  }

  /** Makes the folders again: without the mark, the files do not tell what the agent has changed. */
  async #begin(session: Session, resources: readonly { type: string }[], mark: string): Promise<void> {
    await session.removeFile(MEMORY_READ_ONLY)
    for (const resource of memoriesOf(resources)) {
      const folders = [`${MEMORY}/${partOf(resource)}`, `${MEMORY_READ_ONLY}/${partOf(resource)}`]
      await session.removeFile(folders[0] as string)
      // A sandbox shows one that is read-only above a folder of the other kind.
      await session.makeFolders(folders.slice(0, resource.access === 'read_only' ? 2 : 1))
    }
    await session.putFile(
      MARK,
      (async function* () {
        yield Buffer.from(mark)
      })(),
    )
  }

  async #keep(before: Resource | undefined, after: Resource): Promise<void> {
    const { store } = this.#context
    if (before === undefined) await store.create(after)
    else await store.replace(before, after)
  }
}

const placeOf = ({ tenant, session }: Target): string => JSON.stringify([tenant, session.key])

async function markIn(session: Session): Promise<string | undefined> {
  let mark = ''
  try {
    for await (const piece of session.readFile(MARK)) {
      mark += piece.toString('latin1')
      if (mark.length > LONGEST_MARK) return undefined
    }
    return mark
  } catch (error) {
    if (!(error instanceof FilesError)) throw error
    return undefined
  }
}
