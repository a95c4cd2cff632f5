import { Hono } from 'hono'
import type { Clock } from '../../clock.ts'
import type { Pool, Session } from '../../index.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { ApiStore } from '../../store/api-store.ts'
import type { ServerEnv } from '../context.ts'
import { Idempotency } from '../http/idempotency.ts'
import type { Forwarding } from '../forwarding/forwarding.ts'
import type { Quotas } from '../limits.ts'
import type { PoolListeners } from '../pool-listeners.ts'
import type { Questions } from '../questions.ts'
import type { Streams } from '../streams.ts'
import { Agents } from './agents.ts'
import type { ConfiguredAgents } from './agents.ts'
import type { DefinitionPolicy } from './definition-policy.ts'
import { Environments } from './environments.ts'
import { anyAddresses, publicFetch } from '../outbound/public-fetch.ts'
import type { Exchange, Fetch } from '../outbound/public-fetch.ts'
import { FileContents } from './files/file-contents.ts'
import { fileRoutes } from './files/file-routes.ts'
import { FileSources } from './files/file-sources.ts'
import { Files } from './files/files.ts'
import type { FileLimits } from './files/files.ts'
import { Outputs, sessionOfOutput } from './files/outputs.ts'
import { Memories } from './memory/memories.ts'
import { MemoryMounts } from './memory/memory-mounts.ts'
import { memoryRoutes } from './memory/memory-routes.ts'
import { MemoryStores } from './memory/memory-stores.ts'
import { MemoryVersions } from './memory/memory-versions.ts'
import { refuseUnlimited } from './networking.ts'
import { PoolAgents } from './pool-agents.ts'
import { readBodies, refuseWorkspace } from './request.ts'
import { agentRoutes, environmentRoutes } from './routes.ts'
import { Budgets } from './sessions/budgets.ts'
import { clientCalls } from './sessions/client-calls.ts'
import { Mounting } from './sessions/file-resources.ts'
import { resourceRoutes } from './sessions/resource-routes.ts'
import { eventRoutes } from './sessions/event-routes.ts'
import { SentEvents } from './sessions/sent-events.ts'
import { sessionArchive } from './sessions/session-archive.ts'
import { sessionRoutes } from './sessions/session-routes.ts'
import { Attachments } from './sessions/attachments.ts'
import { FailedServers } from './sessions/failed-servers.ts'
import { lastStatus } from './sessions/session-status.ts'
import { ApiSessions, isGone } from './sessions/sessions.ts'
import { SkillContents } from './skills/skill-contents.ts'
import { SkillMounts } from './skills/skill-mounts.ts'
import { skillRoutes } from './skills/skill-routes.ts'
import { Skills } from './skills/skills.ts'
import { openVaults } from './vaults/open-vaults.ts'
import type { VaultKeys } from './vaults/vault-keys.ts'
import type { Webhooks } from './webhooks/webhooks.ts'

interface ManagedAgentsContext {
  pool: Pool
  listeners: Pick<PoolListeners, 'on'>
  clock: Clock
  quotas: Quotas
  questions: Questions
  streams: Streams
  logger: Logger
  forwarding: Forwarding
}

interface ManagedAgentsParts {
  store: ApiStore
  /** Tells what is done to the resources of the store. */
  webhooks: Webhooks
  policy: DefinitionPolicy
  vaultKeys: VaultKeys
  /** Whether agents reach the network through a proxy. */
  behindProxy: boolean
  /** Undefined: this server keeps no files. */
  fileDir: string | undefined
  fileLimits: FileLimits
}

/** Anthropic's Managed Agents API on the pool: agents, environments, files, skills, memory stores, vaults and sessions under `/v1`. */
export function managedAgents(
  { pool, listeners, clock, quotas, questions, streams, logger, forwarding }: ManagedAgentsContext,
  { store, webhooks, policy, vaultKeys, behindProxy, fileDir, fileLimits }: ManagedAgentsParts,
): Hono<ServerEnv> {
  const { answers } = store
  const { resources } = webhooks
  const now = (): number => clock.wall()
  const warn = (message: string, error: unknown): void => logger.warn(message, { error })
  const configured = configuredAgents(pool)
  const agents = new Agents(resources, configured, now)
  const environments = new Environments(resources, now)
  const closed = pool.stats().isolation.egress !== 'open'
  const hostFetch = (tenant: string, url: URL): Fetch => {
    const over = (exchange: Exchange): void => logger.info(`egress to ${exchange.place}`, { tenant, ...exchange })
    return publicFetch(policy.mustBePublic(tenant, url) ? undefined : anyAddresses, over)
  }
  const failedServers = new FailedServers({ pool, store: resources, warn })
  const vaults = openVaults({
    webhooks,
    policy,
    keys: vaultKeys,
    behindProxy,
    clock,
    logger,
    quotas,
    fetchOf: hostFetch,
    servers: failedServers,
  })
  const poolAgents = new PoolAgents(pool, configured, clientCalls(questions), (tenant, url, { id, vault_ids = [] }) => {
    if (vault_ids.length > 0) return vaults.fetch.for({ tenant, session: id, vaultIds: vault_ids }, url)
    return behindProxy || (!policy.mustBePublic(tenant, url) && !closed) ? undefined : hostFetch(tenant, url)
  })
  const contents = fileDir === undefined ? undefined : new FileContents(fileDir)
  const outputs = new Outputs(async (tenant, key) => {
    const row = await resources.get('session', tenant, key)
    return row === undefined ? undefined : await pool.session(key, { tenant }).catch(unlessGone)
  })
  const skills = new Skills({
    store: resources,
    contents: contents && new SkillContents(contents),
    quotas,
    clock,
    warn,
  })
  const stores = new MemoryStores(resources, now)
  const memories = new Memories(resources, stores, now)
  const versions = new MemoryVersions(resources, memories, now)
  const memory = new MemoryMounts({ store: resources, stores, memories, now, warn })
  const skillMounts = new SkillMounts(skills)
  const files = new Files({ store: resources, contents, outputs, limits: fileLimits, clock, warn })
  const attachments = new Attachments({
    mounting: new Mounting(files, now, fileLimits.fileStorage),
    skills: skillMounts,
    memory,
    vaults: vaults.vaults,
  })
  const sessions = new ApiSessions({
    pool,
    store: resources,
    agents,
    environments,
    poolAgents,
    policy,
    quotas,
    attachments,
    expectNews: (tenant, session) => webhooks.expect(tenant, session),
    now,
  })
  pool.archiveAlso(sessionArchive(store.resources))
  const budgets = new Budgets({ sessions, warn })
  const sent = new SentEvents({ sessions, attachments, questions, quotas, budgets, files: new FileSources(files) })
  const forgetting = new Set<Promise<unknown>>()
  // Sessions also go by retention, by the command line, and by other routes.
  listeners.on('session.deleted', ({ session: { tenant, key } }) => {
    const forgotten = Promise.all([
      resources.remove('session', tenant, key),
      answers.forgetSession(tenant, key),
      memory.forget(tenant, key),
    ])
      .catch((error: unknown) => warn('what the API kept of a deleted session was not removed', error))
      .finally(() => forgetting.delete(forgotten))
    forgetting.add(forgotten)
  })
  listeners.on('tenant.erased', ({ tenant }) => {
    // What goes with its sessions comes first, so that nothing is written behind the end.
    const last = Promise.all(forgetting)
      .then(() => webhooks.settled(tenant))
      .then(() => store.eraseTenant(tenant))
    const erased = [last, files.forget(tenant)]
    void Promise.all(erased).catch((error: unknown) =>
      warn('what the API kept of an erased tenant was not removed', error),
    )
  })
  listeners.on('mcp.failed', ({ worker: { tenant, session }, ...failure }) => {
    if (session !== undefined) failedServers.failed({ tenant, session }, failure)
  })
  listeners.on('turn.ended', ({ session }) => questions.turnEnded(session))
  const app = new Hono<ServerEnv>()
  app.use('/v1/*', refuseWorkspace, readBodies)
  // The host of the session knows whether the request has come before.
  const forwarded = forwarding.route((c) => (c.req.path.endsWith('/events/stream') ? 'events' : undefined))
  app.use('/v1/sessions/:id/*', forwarded)
  // What an agent has written is at the host of its session.
  const ofSession = forwarding.route(
    () => undefined,
    (c) => sessionOfOutput(c.req.param('id') ?? '') ?? c.req.query('scope_id'),
  )
  for (const path of ['/v1/files', '/v1/files/:id', '/v1/files/:id/content']) app.use(path, ofSession)
  app.use('/v1/*', new Idempotency({ clock, answers, warn }).handle)
  const agentsOf = agentRoutes(agents, async (tenant, params, id) => {
    const drafted = await agents.drafted(tenant, params, id)
    await policy.check(tenant, drafted)
    if (params.skills) await skillMounts.check(tenant, drafted.skills)
    quotas.define(tenant, 'definitions', await resources.count('agent', tenant))
  })
  const environmentsOf = environmentRoutes(environments, async (tenant, params, id) => {
    refuseUnlimited(pool, tenant, params.config?.networking)
    if (id === undefined) quotas.define(tenant, 'environments', await resources.count('environment', tenant))
  })
  app.route('/v1/agents', agentsOf)
  app.route('/v1/environments', environmentsOf)
  app.route('/v1/files', fileRoutes({ files, quotas }))
  app.route('/v1/vaults', vaults.routes)
  const memoryOf = memoryRoutes({
    stores,
    memories,
    versions,
    quotas,
    admit: async (tenant) => quotas.define(tenant, 'memoryStores', await resources.count('memory_store', tenant)),
    settled: (tenant) => memory.settled(tenant, isOver),
  })
  app.route('/v1/memory_stores', memoryOf)
  app.route('/v1/skills', skillRoutes({ skills, quotas }))
  app.route('/v1/sessions', sessionRoutes({ sessions, budgets, sent }))
  app.route('/v1/sessions', resourceRoutes(sessions))
  app.route('/v1/sessions', eventRoutes({ sessions, sent, streams, clock }))
  return app
}

/** True if clients know of the end of the last turn. */
async function isOver(session: Session): Promise<boolean> {
  const last = await lastStatus(session)
  return last?.type === 'session.status_idle' && last.stop_reason.type !== 'requires_action'
}

function unlessGone(error: unknown): undefined {
  if (!isGone(error)) throw error
  return undefined
}

const configuredAgents = (pool: Pool): ConfiguredAgents => ({
  names: () => pool.agents,
  describe(name) {
    const { model, systemPrompt } = pool.agentOptions(name)
    return { model, system: typeof systemPrompt === 'string' ? systemPrompt : undefined }
  },
})
