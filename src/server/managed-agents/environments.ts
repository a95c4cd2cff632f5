import { z } from 'zod'
import { formatWall } from '../../clock.ts'
import { ApiError } from '../errors.ts'
import { newId } from './ids.ts'
import { archived, changeKept, listKept, toRow } from './kept.ts'
import type { ListRequest } from './kept.ts'
import type { Page } from './pages.ts'
import type { ResourceStore } from '../../store/api-store.ts'
import { networking, networkingOf } from './networking.ts'
import type { Networking, NetworkingParams } from './networking.ts'
import { metadata, metadataPatch, patchMetadata, unsupported } from './schema.ts'
import type { MetadataPatch } from './schema.ts'

export interface EnvironmentCreate {
  name: string
  description?: string | null | undefined
  metadata?: Record<string, string> | null | undefined
  config?: { networking?: NetworkingParams | null | undefined } | null | undefined
}

/** What is left out stays as it is. */
export interface EnvironmentUpdate {
  name?: string | null | undefined
  description?: string | null | undefined
  metadata?: MetadataPatch | undefined
  config?: EnvironmentCreate['config']
}

const NO_PACKAGES = { type: 'packages', apt: [], cargo: [], gem: [], go: [], npm: [], pip: [] } as const

const noPackages = z
  .strictObject({
    type: z.literal('packages').optional(),
    apt: unsupported('apt').optional(),
    cargo: unsupported('cargo').optional(),
    gem: unsupported('gem').optional(),
    go: unsupported('go').optional(),
    npm: unsupported('npm').optional(),
    pip: unsupported('pip').optional(),
  })
  .nullish()

/** Agents run on this machine with what is installed there. */
const config = z
  .strictObject({
    // Published examples still use the name that the API had for it first.
    type: z.enum(['cloud', 'anthropic_cloud'], {
      error: 'must be "cloud": in this server’s environments the server runs the tools',
    }),
    networking: networking.nullish(),
    packages: noPackages,
  })
  .nullish()

const scope = z.literal('organization', { error: 'must be "organization": a tenant has no accounts' }).nullish()

const text = { description: z.string().max(2048).nullish(), scope, config }

export const environmentCreate: z.ZodType<EnvironmentCreate> = z.strictObject({
  ...text,
  name: z.string().min(1).max(256),
  metadata: metadata.nullish(),
})

export const environmentUpdate: z.ZodType<EnvironmentUpdate> = z.strictObject({
  ...text,
  name: z.string().min(1).max(256).nullish(),
  metadata: metadataPatch.optional(),
})

/** An environment as the wire shows it, and as it is kept. */
export interface EnvironmentResource {
  type: 'environment'
  id: string
  name: string
  /** Empty when there is none: clients of earlier releases take no null. */
  description: string
  metadata: Record<string, string>
  config: { type: 'cloud'; networking: Networking; packages: typeof NO_PACKAGES }
  created_at: string
  updated_at: string
  archived_at: string | null
}

const CONFIG: EnvironmentResource['config'] = {
  type: 'cloud',
  networking: { type: 'unrestricted' },
  packages: NO_PACKAGES,
}

/** The environment that is always there: this machine. */
const LOCAL_ID = 'env_local'

/** Names under which sessions are put together. All of them are this machine. */
export class Environments {
  readonly #store: ResourceStore
  readonly #now: () => number
  readonly #local: EnvironmentResource

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, now: () => number) {
    this.#store = store
    this.#now = now
    const at = formatWall(now())
    this.#local = {
      type: 'environment',
      id: LOCAL_ID,
      name: 'local',
      description: 'The machine that this server runs on',
      metadata: {},
      config: CONFIG,
      created_at: at,
      updated_at: at,
      archived_at: null,
    }
  }

  async create(tenant: string, params: EnvironmentCreate): Promise<EnvironmentResource> {
    const at = formatWall(this.#now())
    const environment: EnvironmentResource = {
      type: 'environment',
      id: newId('environment'),
      name: params.name,
      description: params.description ?? '',
      metadata: params.metadata ?? {},
      config: { ...CONFIG, networking: networkingOf(params.config?.networking, CONFIG.networking) },
      created_at: at,
      updated_at: at,
      archived_at: null,
    }
    await this.#store.create(toRow('environment', tenant, environment))
    return environment
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, id: string): Promise<EnvironmentResource> {
    if (id === LOCAL_ID) return this.#local
    const row = await this.#store.get('environment', tenant, id)
    if (row === undefined) throw notFound(id)
    return shown(JSON.parse(row.body) as EnvironmentResource)
  }

  update(tenant: string, id: string, params: EnvironmentUpdate): Promise<EnvironmentResource> {
    return this.#change(tenant, id, 'changed', (before) => {
      if (before.archived_at !== null) throw new ApiError('invalid_request_error', `environment ${id} is archived`)
      return {
        ...before,
        name: params.name ?? before.name,
        description: params.description === undefined ? before.description : (params.description ?? ''),
        metadata: patchMetadata(before.metadata, params.metadata),
        config: { ...before.config, networking: networkingOf(params.config?.networking, before.config.networking) },
        updated_at: formatWall(this.#now()),
      }
    })
  }

  archive(tenant: string, id: string): Promise<EnvironmentResource> {
    return this.#change(tenant, id, 'archived', (before) =>
      before.archived_at === null ? archived(before, this.#now()) : before,
    )
  }

  async delete(tenant: string, id: string): Promise<{ type: 'environment_deleted'; id: string }> {
    refuseLocal(id, 'deleted')
    await this.retrieve(tenant, id)
    await this.#store.remove('environment', tenant, id)
    return { type: 'environment_deleted', id }
  }

  /** Newest first, this machine at the end. */
  async list(tenant: string, request: ListRequest): Promise<Page<EnvironmentResource>> {
    const page = await listKept(this.#store, { kind: 'environment', tenant, ...request, builtIn: [this.#local] })
    return { ...page, items: page.items.map(shown) }
  }

  async #change(
    tenant: string,
    id: string,
    what: string,
    change: (before: EnvironmentResource) => EnvironmentResource,
  ): Promise<EnvironmentResource> {
    refuseLocal(id, what)
    const after = await changeKept<EnvironmentResource>(this.#store, { kind: 'environment', tenant, id }, change)
    if (after === undefined) throw notFound(id)
    return shown(after)
  }
}

const notFound = (id: string): ApiError => new ApiError('not_found_error', `environment ${id} was not found`)

function refuseLocal(id: string, what: string): void {
  if (id === LOCAL_ID) throw new ApiError('invalid_request_error', `${LOCAL_ID} is this machine and cannot be ${what}`)
}

/** Earlier releases kept null where there is no description. */
const shown = (
  kept: Omit<EnvironmentResource, 'description'> & { description: string | null },
): EnvironmentResource => ({
  ...kept,
  description: kept.description ?? '',
})
