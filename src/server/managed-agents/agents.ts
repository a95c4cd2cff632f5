import { formatWall } from '../../clock.ts'
import { ApiError } from '../errors.ts'
import { define, redefine } from './definition.ts'
import type { AgentDefinition } from './definition.ts'
import { newId } from './ids.ts'
import { archived, changeKept, listKept, toRow } from './kept.ts'
import type { ListRequest } from './kept.ts'
import { decodeCursor, readPage } from './pages.ts'
import type { Page } from './pages.ts'
import type { ResourceStore } from '../../store/api-store.ts'
import { patchMetadata } from './schema.ts'
import type { AgentCreate, AgentOverrides, AgentUpdate } from './schema.ts'

/** An agent as the wire shows it, and as it is kept. */
export interface AgentResource extends AgentDefinition {
  type: 'agent'
  id: string
  version: number
  name: string
  description: string | null
  metadata: Record<string, string>
  execution_identity: { type: 'service_account' }
  multiagent: null
  created_at: string
  updated_at: string
  archived_at: string | null
}

/** What the agents of the config are to the API: they can be used and read, and change with the config alone. */
export interface ConfiguredAgents {
  names(): string[]
  /** The model and system prompt of one, where the config names them. */
  describe(name: string): { model: string | undefined; system: string | undefined }
}

const CONFIGURED = 'agent_'

/** The agent of the config that an id names, if it does: ids of the API's own agents are longer than any guess. */
export const configuredName = (id: string, configured: ConfiguredAgents): string | undefined =>
  configured.names().find((name) => `${CONFIGURED}${name}` === id)

/** Agents that were made over the API, with all their versions, and those of the config. */
export class Agents {
  readonly #store: ResourceStore
  readonly #now: () => number
  readonly #configured: ConfiguredAgents
  readonly #since: string

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, configured: ConfiguredAgents, now: () => number) {
    this.#store = store
    this.#configured = configured
    this.#now = now
    this.#since = formatWall(now())
  }

  /** What a request defines: a new agent, or the next version of one. Throws ApiError. */
  async drafted(tenant: string, params: AgentCreate | AgentUpdate, id?: string): Promise<AgentDefinition> {
    if (id === undefined) return define(params as AgentCreate)
    this.#refuseConfigured(id)
    return redefine(await this.retrieve(tenant, id), definedBy(params))
  }

  async create(tenant: string, params: AgentCreate): Promise<AgentResource> {
    const at = formatWall(this.#now())
    const agent: AgentResource = {
      type: 'agent',
      id: newId('agent'),
      version: 1,
      name: params.name,
      description: params.description ?? null,
      ...define(params),
      metadata: params.metadata ?? {},
      execution_identity: { type: 'service_account' },
      multiagent: null,
      created_at: at,
      updated_at: at,
      archived_at: null,
    }
    await this.#store.create(toRow('agent', tenant, agent))
    return agent
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, id: string, version?: number): Promise<AgentResource> {
    const name = configuredName(id, this.#configured)
    const newest =
      name === undefined ? read((await this.#store.get('agent', tenant, id))?.body) : this.#fromConfig(name)
    if (newest === undefined) throw notFound(id)
    if (version === undefined || version === newest.version) return newest
    const older = read(await this.#store.version('agent', tenant, id, version))
    if (older === undefined) throw new ApiError('not_found_error', `agent ${id} has no version ${version}`)
    // That an agent is archived holds for all its versions.
    return { ...older, archived_at: newest.archived_at }
  }

  /** A new version, unless nothing changes. Throws ApiError. */
  update(tenant: string, id: string, params: AgentUpdate): Promise<AgentResource> {
    return this.#change(tenant, id, (before) => {
      if (before.archived_at !== null) throw new ApiError('invalid_request_error', `agent ${id} is archived`)
      if (params.version !== undefined && params.version !== before.version)
        throw new ApiError(
          'invalid_request_error',
          `version: agent ${id} is at version ${before.version} by now, not ${params.version}; read it again`,
          { status: 409, headers: { 'x-should-retry': 'false' } },
        )
      const changed: AgentResource = {
        ...before,
        ...redefine(before, definedBy(params)),
        name: params.name ?? before.name,
        description: params.description === undefined ? before.description : params.description,
        metadata: patchMetadata(before.metadata, params.metadata),
      }
      if (JSON.stringify(changed) === JSON.stringify(before)) return before
      return { ...changed, version: before.version + 1, updated_at: formatWall(this.#now()) }
    })
  }

  /** Archives it, once: no new session may use it. */
  archive(tenant: string, id: string): Promise<AgentResource> {
    return this.#change(tenant, id, (before) => (before.archived_at === null ? archived(before, this.#now()) : before))
  }

  /** Newest first, those of the config at the end. */
  list(tenant: string, request: ListRequest): Promise<Page<AgentResource>> {
    const builtIn = this.#configured.names().map((name) => this.#fromConfig(name))
    return listKept(this.#store, { kind: 'agent', tenant, ...request, builtIn })
  }

  /** Newest first. */
  async versions(tenant: string, id: string, page: string | undefined, limit: number): Promise<Page<AgentResource>> {
    const newest = await this.retrieve(tenant, id)
    const before = page === undefined ? newest.version + 1 : decodeCursor(page).createdAt
    const { items, nextPage } = await readPage({
      order: 'desc',
      // A version is its own place in this list.
      cursor: { direction: 'next', createdAt: before, id },
      limit,
      matches: () => true,
      read: (_order, after, bounds) =>
        this.#store.versions({ kind: 'agent', tenant, id, before: after?.createdAt ?? before, ...bounds }),
    })
    return { items: items.map(({ body }) => JSON.parse(body) as AgentResource), nextPage, prevPage: null }
  }

  async #change(tenant: string, id: string, change: (before: AgentResource) => AgentResource): Promise<AgentResource> {
    this.#refuseConfigured(id)
    const after = await changeKept(this.#store, { kind: 'agent', tenant, id }, change)
    if (after === undefined) throw notFound(id)
    return after
  }

  #refuseConfigured(id: string): void {
    if (configuredName(id, this.#configured) !== undefined)
      throw new ApiError('invalid_request_error', `agent ${id} comes from the server’s config and changes there alone`)
  }

  #fromConfig(name: string): AgentResource {
    const { model = 'default', system } = this.#configured.describe(name)
    return {
      type: 'agent',
      id: `${CONFIGURED}${name}`,
      version: 1,
      name,
      description: 'From the server’s config',
      ...define({ model: { id: model }, system }),
      metadata: {},
      execution_identity: { type: 'service_account' },
      multiagent: null,
      created_at: this.#since,
      updated_at: this.#since,
      archived_at: null,
    }
  }
}

const notFound = (id: string): ApiError => new ApiError('not_found_error', `agent ${id} was not found`)

const definedBy = ({ model, system, tools, mcp_servers, skills }: AgentOverrides): AgentOverrides => ({
  model,
  system,
  tools,
  mcp_servers,
  skills,
})

const read = (body: string | undefined): AgentResource | undefined =>
  body === undefined ? undefined : (JSON.parse(body) as AgentResource)
