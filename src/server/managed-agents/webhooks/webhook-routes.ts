import { Hono } from 'hono'
import type { Context } from 'hono'
import { formatWall } from '../../../clock.ts'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { readLimit } from '../pages.ts'
import { readList } from '../query.ts'
import { described, pageAnswer } from '../routes.ts'
import { listDeliveries } from './delivery-list.ts'
import type { EndpointState } from './endpoint-state.ts'
import type { Endpoint } from './options.ts'
import type { Webhooks } from './webhooks.ts'

const STATUSES = ['pending', 'delivered', 'failed']

interface WebhookRoutes {
  webhooks: Webhooks
  /** The tenant of the request, whose deliveries it asks for. */
  tenantOf: (c: Context<ServerEnv>) => string
  /** The endpoints that the sender of the request may see. */
  visible: (c: Context<ServerEnv>) => readonly Endpoint[]
  /** Query parameters that `tenantOf` reads. */
  query?: readonly string[]
}

/** Endpoints and deliveries: those of a tenant, or, for operators, of all. They are this server's own: the API has none. */
export function webhookRoutes({ webhooks, tenantOf, visible, query = [] }: WebhookRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.get(
    '/endpoints',
    described({ operationId: 'listWebhookEndpoints', summary: 'List the endpoints of webhooks' }),
    async (c) => {
      const { states } = webhooks.queue
      const shown = await Promise.all(
        visible(c).map(async (endpoint) => wireEndpoint(endpoint, await states.of(endpoint))),
      )
      return c.json({ data: shown, next_page: null })
    },
  )
  app.post(
    '/endpoints/:name/enable',
    described({
      operationId: 'enableWebhookEndpoint',
      summary: 'Enable an endpoint that was disabled, and send what waits',
      query,
      post: true,
    }),
    async (c) => {
      const name = c.req.param('name')
      const tenant = query.length === 0 ? undefined : c.req.query('tenant')
      const found = visible(c).find(
        (endpoint) => endpoint.name === name && (query.length === 0 || endpoint.tenant === tenant),
      )
      if (found === undefined) throw new ApiError('not_found_error', `webhook endpoint ${name} was not found`)
      return c.json(wireEndpoint(found, await webhooks.queue.enable(found)))
    },
  )
  app.get(
    '/deliveries',
    described({
      operationId: 'listWebhookDeliveries',
      summary: 'List the deliveries of webhooks in the last 7 days, newest first',
      query: ['page', 'limit', 'endpoint', 'status[]', ...query],
    }),
    async (c) => {
      const endpoint = c.req.query('endpoint')
      const endpoints = visible(c).filter(({ name }) => endpoint === undefined || endpoint === name)
      const page = await listDeliveries(webhooks.resources, {
        tenant: tenantOf(c),
        endpoints: new Set(endpoints.map(({ id }) => id)),
        statuses: readList(c.req.queries(), 'status', STATUSES),
        page: c.req.query('page'),
        limit: readLimit(c.req.query('limit')),
      })
      return c.json(pageAnswer(page))
    },
  )
  return app
}

/** The query of the address, in which some receivers have a secret, is not shown. */
const wireEndpoint = ({ name, tenant, url, events }: Endpoint, state: EndpointState): object => ({
  type: 'webhook_endpoint',
  name,
  tenant: tenant ?? null,
  url: `${url.origin}${url.pathname}`,
  events: [...events],
  status: state.disabledAt === null ? 'enabled' : 'disabled',
  disabled_at: state.disabledAt === null ? null : formatWall(state.disabledAt),
  disabled_reason: state.reason,
  failing_since: state.failingSince === null ? null : formatWall(state.failingSince),
})
