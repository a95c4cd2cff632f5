import { Hono } from 'hono'
import type { ServerContext, ServerEnv } from '../context.ts'
import { Idempotency } from '../idempotency.ts'
import type { KeptAnswers } from '../kept-answers.ts'
import { Agents } from './agents.ts'
import type { ConfiguredAgents } from './agents.ts'
import { Budgets } from './budgets.ts'
import { clientCalls } from './client-calls.ts'
import type { DefinitionPolicy } from './definition-policy.ts'
import { Environments } from './environments.ts'
import { SentEvents } from './events.ts'
import { PoolAgents } from './pool-agents.ts'
import { readBodies, refuseWorkspace } from './request.ts'
import type { ResourceStore } from './resource-store.ts'
import { agentRoutes, environmentRoutes } from './routes.ts'
import { sessionRoutes } from './session-routes.ts'
import { ApiSessions } from './sessions.ts'

interface ManagedAgentsParts {
  store: ResourceStore
  answers: KeptAnswers
  policy: DefinitionPolicy
  /** Whether agents reach the network through a proxy. */
  behindProxy: boolean
}

/** Anthropic's Managed Agents API on the pool: `/v1/agents`, `/v1/environments`, `/v1/sessions`. */
export function managedAgents(
  context: ServerContext,
  { store, answers, policy, behindProxy }: ManagedAgentsParts,
): Hono<ServerEnv> {
  const { pool, clock, quotas, questions, logger } = context
  const now = (): number => clock.wall()
  const configured: ConfiguredAgents = {
    names: () => pool.agents,
    describe(name) {
      const { model, systemPrompt } = pool.agentOptions(name)
      return { model, system: typeof systemPrompt === 'string' ? systemPrompt : undefined }
    },
  }
  const agents = new Agents(store, configured, now)
  const environments = new Environments(store, now)
  const sessions = new ApiSessions({
    pool,
    store,
    agents,
    environments,
    poolAgents: new PoolAgents(
      pool,
      configured,
      clientCalls(questions),
      (tenant, url) => !behindProxy && policy.mustBePublic(tenant, url),
    ),
    policy,
    quotas,
    now,
  })
  const warn = (message: string, error: unknown): void => logger.warn(message, { error })
  // Sessions also go by retention, by the command line, and by other routes.
  pool.on('session.deleted', ({ session: { tenant, key } }) => {
    store.remove('session', tenant, key)
    answers
      .forgetSession(tenant, key)
      .catch((error: unknown) => warn('the answers about a deleted session were not removed', error))
  })
  pool.on('turn.ended', ({ session }) => questions.turnEnded(session))
  const app = new Hono<ServerEnv>()
  app.use('/v1/*', refuseWorkspace, readBodies, new Idempotency({ clock, answers, warn }).handle)
  const agentsOf = agentRoutes(agents, async (tenant, params, id) => {
    await policy.check(tenant, agents.drafted(tenant, params, id))
    quotas.define(tenant, 'definitions', store.count('agent', tenant))
  })
  const environmentsOf = environmentRoutes(environments, (tenant, _params, id) => {
    if (id === undefined) quotas.define(tenant, 'environments', store.count('environment', tenant))
  })
  app.route('/v1/agents', agentsOf)
  app.route('/v1/environments', environmentsOf)
  const budgets = new Budgets({ sessions, warn })
  const sent = new SentEvents({ sessions, questions, quotas, budgets })
  app.route('/v1/sessions', sessionRoutes({ context, sessions, budgets, sent }))
  return app
}
