import { formatWall, parseWall } from '../../../clock.ts'
import type { Pool, Session } from '../../../index.ts'
import { SessionBusyError, SessionGoneError } from '../../../index.ts'
import { ApiError } from '../../errors.ts'
import type { Quotas } from '../../limits.ts'
import type { Agents } from '../agents.ts'
import type { DefinitionPolicy } from '../definition-policy.ts'
import type { Environments } from '../environments.ts'
import { newId } from '../ids.ts'
import { MOST_TRIES, archived, changedMeanwhile, listKept } from '../kept.ts'
import type { ListRequest } from '../kept.ts'
import { checkServers } from '../networking.ts'
import type { Limited } from '../networking.ts'
import type { Page } from '../pages.ts'
import type { PoolAgents } from '../pool-agents.ts'
import { redefine } from '../definition.ts'
import type { AgentSkill } from '../definition.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { memoriesOf } from '../memory/memory-mounts.ts'
import type { StoredVersion } from '../skills/skills.ts'
import type { Attachments } from './attachments.ts'
import type { FileMount, FileResource } from './file-resources.ts'
import { dollarsOf, toSessionRow } from './session-resource.ts'
import type { SessionAgent, SessionResource, StoredSession } from './session-resource.ts'
import { patchMetadata } from '../schema.ts'
import type { Budget, SessionCreate, SessionUpdate } from './session-schema.ts'
import { statusOf } from './session-status.ts'
import type { SessionStatus } from './session-status.ts'
import { secondsOf, wireUsage } from './wire-usage.ts'

/** A session as the wire shows it. */
export interface WireSession extends SessionResource {
  type: 'session'
  status: SessionStatus
  usage: Record<string, unknown>
  stats: { active_seconds: number; duration_seconds: number }
  outcome_evaluations: []
  vault_ids: string[]
}

/** A session as routes work with it. */
export interface Found {
  tenant: string
  resource: StoredSession
  session: Session
}

export interface SessionListRequest extends ListRequest {
  order: 'asc' | 'desc'
  agentId: string | undefined
  agentVersion: number | undefined
  statuses: readonly SessionStatus[] | undefined
  memoryStoreId: string | undefined
}

interface SessionsContext {
  pool: Pool
  store: ResourceStore
  agents: Agents
  environments: Environments
  poolAgents: PoolAgents
  policy: DefinitionPolicy
  quotas: Quotas
  attachments: Attachments
  /** The session may have news for webhooks soon. What it gives is called when they are durable, or did not come. */
  expectNews: (tenant: string, session: string) => Promise<() => void>
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Sessions of the API: what clients say of them is kept here, their conversations are the pool's. */
export class ApiSessions {
  readonly #context: SessionsContext

  constructor(context: SessionsContext) {
    this.#context = context
  }

  /** Begins a session. Throws ApiError. */
  async create(tenant: string, params: SessionCreate): Promise<Found> {
    const { agents, environments, poolAgents, pool, store, quotas, now, attachments } = this.#context
    const { id: agentId, version, type, ...overrides } = params.agent
    const agent = await agents.retrieve(tenant, agentId, version)
    if (agent.archived_at !== null) throw new ApiError('invalid_request_error', `agent: ${agentId} is archived`)
    if (Object.values(overrides).some((override) => override !== undefined)) this.#refuseConfigured(agentId)
    const environment = await environments.retrieve(tenant, params.environment_id)
    if (environment.archived_at !== null)
      throw new ApiError('invalid_request_error', `environment_id: ${environment.id} is archived`)
    const {
      created_at: _created,
      updated_at: _updated,
      archived_at: _archived,
      metadata: _metadata,
      ...snapshot
    } = agent
    const changed = type === 'agent_with_overrides' ? redefine(agent, overrides) : {}
    const defined = { ...snapshot, ...changed }
    await this.#checkAgent(tenant, defined)
    const { networking } = environment.config
    const network = networking.type === 'limited' ? networking : undefined
    this.#checkNetwork(network, defined)
    if (params.vault_ids !== undefined && params.vault_ids.length > 0 && poolAgents.isConfigured(agentId))
      throw new ApiError(
        'invalid_request_error',
        `vault_ids: ${agentId} comes from the server’s config, which has the credentials of its MCP servers`,
      )
    const attached = await attachments.find(tenant, params, defined.skills)
    const { versions, vaultIds, memories } = attached
    const at = formatWall(now())
    const resource: StoredSession = {
      id: newId('session'),
      agent: { ...defined, skills: versions.map(asSkill) },
      environment_id: environment.id,
      title: params.title ?? null,
      metadata: params.metadata ?? {},
      budget: params.budget ?? null,
      resources: memories,
      created_at: at,
      updated_at: at,
      archived_at: null,
      sharesAgent:
        type === 'agent' &&
        params.budget === undefined &&
        network === undefined &&
        vaultIds.length === 0 &&
        memories.length === 0,
      ...(network === undefined ? {} : { network }),
      ...(vaultIds.length === 0 ? {} : { vault_ids: vaultIds }),
      ...(versions.length === 0 ? {} : { skillNames: versions.map(({ name }) => name) }),
    }
    const session = await quotas.beginSession(tenant, () =>
      pool.session(resource.id, { tenant, agent: poolAgents.nameOf(tenant, resource) }),
    )
    resource.resources = await attachments.place({ tenant, resource, session }, attached)
    // Last, so that no client finds a session that the pool does not have.
    await store.create(toSessionRow(tenant, resource))
    return { tenant, resource, session }
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async find(tenant: string, id: string): Promise<Found> {
    const { store, pool, poolAgents, policy } = this.#context
    const row = await store.get('session', tenant, id)
    if (row === undefined) throw notFound(id)
    const resource = whole(JSON.parse(row.body) as StoredSession)
    // The agent may have been forgotten since, as after a restart. One that is not allowed any more has sessions to read only.
    const permitted = poolAgents.isConfigured(resource.agent.id) || policy.permits(tenant, resource.agent)
    // One whose network cannot be limited any more must not run at all.
    if (permitted && (resource.network === undefined || pool.egressProblem === undefined))
      poolAgents.nameOf(tenant, resource)
    try {
      return { tenant, resource, session: await pool.session(id, { tenant }) }
    } catch (error) {
      if (error instanceof SessionGoneError) throw notFound(id)
      throw error
    }
  }

  /** Puts a file into the workspace of a session. Throws ApiError. */
  async mount(found: Found, mount: FileMount): Promise<FileResource> {
    const { session, resource } = found
    if (resource.archived_at !== null) throw new ApiError('invalid_request_error', `session ${resource.id} is archived`)
    const made = await this.#context.attachments.mount(found, mount)
    // At a path of its own it is seen by the next process. One that works goes on.
    if (mount.mount_path?.startsWith('/') === true)
      await session.hibernate().catch((error: unknown) => {
        if (!(error instanceof SessionBusyError)) throw error
      })
    await this.#change(found, async (before) => ({
      ...before.resource,
      resources: [...before.resource.resources, made],
      updated_at: formatWall(this.#context.now()),
    }))
    return made
  }

  /** Removes a file from the workspace of a session. */
  async unmount(found: Found, file: FileResource): Promise<void> {
    await this.#context.attachments.unmount(found, file)
    await this.#change(found, async (before) => ({
      ...before.resource,
      resources: before.resource.resources.filter((other) => other.type !== 'file' || other.id !== file.id),
      updated_at: formatWall(this.#context.now()),
    }))
  }

  async show({ resource, session }: Found): Promise<WireSession> {
    const { sharesAgent: _, network: _network, skillNames: _names, ...shown } = resource
    const [info, status] = await Promise.all([session.info(), statusOf(session)])
    const seconds = Math.max(0, Math.round((this.#context.now() - parseWall(resource.created_at)) / 1000))
    return {
      type: 'session',
      ...shown,
      status,
      usage: wireUsage(info),
      stats: { active_seconds: secondsOf(info.activeMs), duration_seconds: seconds },
      outcome_evaluations: [],
      vault_ids: resource.vault_ids ?? [],
    }
  }

  /** Changes a session and tells so in its events. Throws ApiError, SessionBusyError. */
  update(found: Found, params: SessionUpdate): Promise<Found> {
    return this.withNews(found, () => this.#update(found, params))
  }

  /** Does something to a session that webhooks may have to tell. */
  async withNews<T>({ tenant, session }: Found, work: () => Promise<T>): Promise<T> {
    const done = await this.#context.expectNews(tenant, session.key)
    try {
      return await work()
    } finally {
      done()
    }
  }

  #update(found: Found, params: SessionUpdate): Promise<Found> {
    return this.#change(
      found,
      async (before) => {
        const { resource, session, tenant } = before
        const { now, poolAgents } = this.#context
        if (resource.archived_at !== null)
          throw new ApiError('invalid_request_error', `session ${resource.id} is archived`)
        const after: StoredSession = {
          ...resource,
          title: params.title === undefined ? resource.title : params.title,
          metadata: patchMetadata(resource.metadata, params.metadata),
          budget: await this.#newBudget(before, params.budget),
          agent: params.agent === undefined ? resource.agent : this.#newAgent(resource, params.agent),
        }
        const changes = changesOf(resource, after)
        if (Object.keys(changes).length === 0) return resource
        if ('agent' in changes || 'budget' in changes) await this.#checkAgent(tenant, after.agent)
        if ('agent' in changes) this.#checkNetwork(after.network, after.agent)
        after.updated_at = formatWall(now())
        if ('agent' in changes) await this.#refuseRunning(session)
        if ('agent' in changes || 'budget' in changes) {
          after.sharesAgent = false
          await session.changeAgent(poolAgents.nameOf(tenant, after))
        }
        return after
      },
      (before, after) => before.session.append([{ type: 'session.updated', ...changesOf(before.resource, after) }]),
    )
  }

  /** No more work; what was said stays. Throws ApiError while a turn runs. */
  archive(found: Found): Promise<Found> {
    return this.#change(found, async ({ resource, session }) => {
      if (resource.archived_at !== null) return resource
      await this.#refuseRunning(session)
      await session.hibernate()
      return archived(resource, this.#context.now())
    })
  }

  /** Makes a change to the session as it is, and makes it anew if another request has changed that meanwhile. */
  async #change(
    found: Found,
    change: (before: Found) => Promise<StoredSession>,
    changed?: (before: Found, after: StoredSession) => Promise<unknown>,
  ): Promise<Found> {
    const {
      tenant,
      resource: { id },
    } = found
    let before = found
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const after = await change(before)
      if (after === before.resource) return before
      if (await this.#context.store.replace(toSessionRow(tenant, before.resource), toSessionRow(tenant, after))) {
        await changed?.(before, after)
        return { ...before, resource: after }
      }
      before = await this.find(tenant, id)
    }
    throw changedMeanwhile('session', id)
  }

  /** Ends what runs and removes it with all its events. */
  async delete({ tenant, resource, session }: Found): Promise<{ type: 'session_deleted'; id: string }> {
    await session.delete()
    await this.#context.store.remove('session', tenant, resource.id)
    return { type: 'session_deleted', id: resource.id }
  }

  async list(tenant: string, request: SessionListRequest): Promise<Page<WireSession>> {
    const { agentId, agentVersion, statuses, memoryStoreId, ...rest } = request
    const working = statuses === undefined ? undefined : await this.#working(tenant)
    const found = await listKept<StoredSession>(this.#context.store, {
      kind: 'session',
      tenant,
      parent: agentId,
      ...rest,
      matches(kept) {
        const { id, agent, resources } = whole(kept)
        if (working !== undefined && statuses?.includes(working.get(id) ?? 'idle') !== true) return false
        if (memoryStoreId !== undefined && !memoriesOf(resources).some((one) => one.memory_store_id === memoryStoreId))
          return false
        return agentId === undefined || agentVersion === undefined || agent.version === agentVersion
      },
    })
    const shown = await Promise.all(found.items.map(({ id }) => this.#showIfThere(tenant, id)))
    return { ...found, items: shown.flatMap((session) => session ?? []) }
  }

  /** Makes sure that the session may run its agent, and can. Throws ApiError. */
  async checkAgent(found: Found): Promise<void> {
    const { tenant, resource } = found
    await this.#checkAgent(tenant, resource.agent)
    this.#checkNetwork(resource.network, resource.agent)
    if (resource.agent.skills.length > 0 && resource.skillNames === undefined) await this.#placeSkills(found)
  }

  /** Throws ApiError once the session has used up its budget. */
  async checkBudget({ resource, session }: Found): Promise<void> {
    if (resource.budget === null) return
    const { usage } = await session.info()
    if (usage.costUsd >= dollarsOf(resource.budget))
      throw new ApiError('invalid_request_error', `session ${resource.id} has reached its budget; raise or remove it`)
  }

  /** Of a session that came in from an archive. */
  async #placeSkills(found: Found): Promise<void> {
    const { attachments, poolAgents } = this.#context
    const skillNames = await attachments.placeSkills(found, found.resource.agent.skills)
    const { resource: after } = await this.#change(found, async (before) => ({ ...before.resource, skillNames }))
    poolAgents.nameOf(found.tenant, after)
  }

  async #checkAgent(tenant: string, agent: SessionAgent): Promise<void> {
    const { poolAgents, policy } = this.#context
    if (!poolAgents.isConfigured(agent.id)) await policy.check(tenant, agent)
  }

  /** Throws ApiError for a limited network that cannot be held, or does not reach what the agent needs. */
  #checkNetwork(network: Limited | undefined, agent: SessionAgent): void {
    if (network === undefined) return
    const { pool, poolAgents } = this.#context
    if (pool.egressProblem !== undefined)
      throw new ApiError(
        'invalid_request_error',
        `environment_id: this server cannot limit the network of the agent: ${pool.egressProblem}`,
      )
    if (poolAgents.limitsEgress(agent.id))
      throw new ApiError(
        'invalid_request_error',
        `environment_id: ${agent.id} has an isolation.egress of its own in the server’s config; use an unrestricted environment`,
      )
    checkServers(network, agent.mcp_servers)
  }

  async #refuseRunning(session: Session): Promise<void> {
    if ((await statusOf(session)) !== 'idle')
      throw new ApiError('invalid_request_error', `session ${session.key} is running; interrupt it first`)
  }

  /** Those at work now; what waits for its client is idle. */
  async #working(tenant: string): Promise<Map<string, SessionStatus>> {
    const working = new Map<string, SessionStatus>()
    const { pool } = this.#context
    for (const id of pool.runningSessions(tenant)) {
      const session = await pool.session(id, { tenant }).catch(() => undefined)
      if (session !== undefined) working.set(id, await statusOf(session))
    }
    return working
  }

  /** Between the look and the answer it may have been deleted. */
  async #showIfThere(tenant: string, id: string): Promise<WireSession | undefined> {
    try {
      return await this.show(await this.find(tenant, id))
    } catch (error) {
      if (isGone(error)) return undefined
      throw error
    }
  }

  async #newBudget({ resource, session }: Found, budget: Budget | null | undefined): Promise<Budget | null> {
    if (budget === undefined) return resource.budget
    if (budget === null) return null
    if (resource.budget === null)
      throw new ApiError(
        'invalid_request_error',
        'budget: can be given at a session’s creation alone (budget_create_only)',
      )
    const { usage } = await session.info()
    if (dollarsOf(budget) <= usage.costUsd)
      throw new ApiError('invalid_request_error', 'budget: is used up already; give more (budget_not_raised)')
    return budget
  }

  #newAgent({ agent }: SessionResource, { tools, mcp_servers }: NonNullable<SessionUpdate['agent']>): SessionAgent {
    this.#refuseConfigured(agent.id)
    return { ...agent, ...redefine(agent, { tools, mcp_servers }) }
  }

  #refuseConfigured(agentId: string): void {
    if (this.#context.poolAgents.isConfigured(agentId))
      throw new ApiError(
        'invalid_request_error',
        `agent: ${agentId} comes from the server’s config and changes there alone`,
      )
  }
}

const asSkill = ({ skill_id, id }: StoredVersion): AgentSkill => ({ type: 'custom', skill_id, version: id })

/** Earlier releases kept no resources. */
const whole = (kept: Omit<StoredSession, 'resources'> & { resources?: StoredSession['resources'] }): StoredSession => ({
  ...kept,
  resources: kept.resources ?? [],
})

const notFound = (id: string): ApiError => new ApiError('not_found_error', `session ${id} was not found`)

/** True for what is thrown for a session that was deleted. */
export const isGone = (error: unknown): boolean =>
  error instanceof SessionGoneError || (error instanceof ApiError && error.type === 'not_found_error')

function changesOf(before: SessionResource, after: SessionResource): Partial<SessionResource> {
  const fields = ['title', 'metadata', 'budget', 'agent'] as const
  const changed = fields.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]))
  return Object.fromEntries(changed.map((field) => [field, after[field]]))
}
