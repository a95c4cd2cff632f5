import { formatWall } from '../../clock.ts'
import { ApiError } from '../errors.ts'
import { define, redefine } from './definition.ts'
import type { AgentDefinition } from './definition.ts'
import { newId } from './ids.ts'
import { archived, listKept, toRow } from './kept.ts'
import type { ListRequest } from './kept.ts'
import { decodeCursor, pageNow, readPage } from './pages.ts'
import type { Page } from './pages.ts'
import type { ResourceStore } from './resource-store.ts'
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
  skills: []
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
  drafted(tenant: string, params: AgentCreate | AgentUpdate, id?: string): AgentDefinition {
    return id === undefined ? define(params as AgentCreate) : redefine(this.#own(tenant, id), definedBy(params))
  }

  create(tenant: string, params: AgentCreate): AgentResource {
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
      skills: [],
      created_at: at,
      updated_at: at,
      archived_at: null,
    }
    this.#save(tenant, agent)
    return agent
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  retrieve(tenant: string, id: string, version?: number): AgentResource {
    const name = configuredName(id, this.#configured)
    const newest = name === undefined ? read(this.#store.get('agent', tenant, id)?.body) : this.#fromConfig(name)
    if (newest === undefined) throw new ApiError('not_found_error', `agent ${id} was not found`)
    if (version === undefined || version === newest.version) return newest
    const older = read(this.#store.version('agent', tenant, id, version))
    if (older === undefined) throw new ApiError('not_found_error', `agent ${id} has no version ${version}`)
    // That an agent is archived holds for all its versions.
    return { ...older, archived_at: newest.archived_at }
  }

  /** A new version, unless nothing changes. Throws ApiError. */
  update(tenant: string, id: string, params: AgentUpdate): AgentResource {
    const before = this.#own(tenant, id)
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
    const after = { ...changed, version: before.version + 1, updated_at: formatWall(this.#now()) }
    this.#save(tenant, after)
    return after
  }

  /** Archives it, once: no new session may use it. */
  archive(tenant: string, id: string): AgentResource {
    const before = this.#own(tenant, id)
    if (before.archived_at !== null) return before
    const after = archived(before, this.#now())
    this.#store.put(toRow('agent', tenant, after))
    return after
  }

  /** Newest first, those of the config at the end. */
  list(tenant: string, request: ListRequest): Page<AgentResource> {
    const builtIn = this.#configured.names().map((name) => this.#fromConfig(name))
    return pageNow(listKept(this.#store, { kind: 'agent', tenant, ...request, builtIn }))
  }

  /** Newest first. */
  versions(tenant: string, id: string, page: string | undefined, limit: number): Page<AgentResource> {
    const newest = this.retrieve(tenant, id)
    const before = page === undefined ? newest.version + 1 : decodeCursor(page).createdAt
    const { items, nextPage } = pageNow(
      readPage({
        order: 'desc',
        // A version is its own place in this list.
        cursor: { direction: 'next', createdAt: before, id },
        limit,
        matches: () => true,
        read: (_order, after, count) => this.#store.versions('agent', tenant, id, after?.createdAt ?? before, count),
      }),
    )
    return { items: items.map(({ body }) => JSON.parse(body) as AgentResource), nextPage, prevPage: null }
  }

  #own(tenant: string, id: string): AgentResource {
    if (configuredName(id, this.#configured) !== undefined)
      throw new ApiError('invalid_request_error', `agent ${id} comes from the server’s config and changes there alone`)
    return this.retrieve(tenant, id)
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
      skills: [],
      created_at: this.#since,
      updated_at: this.#since,
      archived_at: null,
    }
  }

  #save(tenant: string, agent: AgentResource): void {
    this.#store.putVersion(toRow('agent', tenant, agent))
  }
}

const definedBy = ({ model, system, tools, mcp_servers }: AgentOverrides): AgentOverrides => ({
  model,
  system,
  tools,
  mcp_servers,
})

const read = (body: string | undefined): AgentResource | undefined =>
  body === undefined ? undefined : (JSON.parse(body) as AgentResource)
