import { formatWall } from '../../../clock.ts'
import type { Resource } from '../../../store/api-store.ts'
import { idOf } from '../ids.ts'
import type { WebhookEventType } from './event-types.ts'

/** There is one organization: the server. Its workspaces are tenants. */
const ORGANIZATION = 'org_local'

/** What an event is about. `vault_id` and the like are passed on as they are. */
export interface Told {
  type: WebhookEventType
  /** Of the resource. */
  id: string
  more?: Readonly<Record<string, string>> | undefined
}

/** What is kept of a delivery. Times are milliseconds since the epoch. */
export interface KeptDelivery extends Told {
  /** The endpoint's id. */
  endpoint: string
  /** The event's id: the same for each endpoint and each try. */
  event: string
  /** When it happened. */
  at: number
  status: 'pending' | 'delivered' | 'failed'
  attempts: number
  /** Not before this. */
  nextAt: number
  lastAt: number | null
  /** Of the last answer, if there was one. */
  lastStatus: number | null
  lastError: string | null
}

/** A delivery as it is kept, and as a queue works with it. */
export interface Delivery {
  row: Resource
  kept: KeptDelivery
}

export const toDelivery = (row: Resource): Delivery => ({ row, kept: JSON.parse(row.body) as KeptDelivery })

interface NewDelivery {
  tenant: string
  endpoint: string
  told: Told
  event: string
  at: number
  /** Its place in the queue: later ones of the same resource have a larger one. */
  place: number
}

export function newDelivery({ tenant, endpoint, told, event, at, place }: NewDelivery): Delivery {
  const kept: KeptDelivery = {
    ...told,
    endpoint,
    event,
    at,
    status: 'pending',
    attempts: 0,
    nextAt: 0,
    lastAt: null,
    lastStatus: null,
    lastError: null,
  }
  const row: Resource = {
    kind: 'webhook_delivery',
    tenant,
    id: idOf('webhookDelivery', tenant, event, endpoint),
    version: 1,
    createdAt: place,
    archivedAt: null,
    parent: endpoint,
    body: JSON.stringify(kept),
  }
  return { row, kept }
}

/** The delivery after a change. One that is not pending any more is archived. */
export function changed({ row, kept }: Delivery, change: Partial<KeptDelivery>, now: number): Delivery {
  const after = { ...kept, ...change }
  const archivedAt = after.status === 'pending' ? null : now
  return { kept: after, row: { ...row, version: row.version + 1, archivedAt, body: JSON.stringify(after) } }
}

/** What is sent: the same at each try. */
export const bodyOf = (tenant: string, { event, at, type, id, more }: KeptDelivery): string =>
  JSON.stringify({
    type: 'event',
    id: event,
    created_at: formatWall(at),
    data: { type, id, ...more, organization_id: ORGANIZATION, workspace_id: tenant },
  })

const shownTime = (ms: number | null): string | null => (ms === null ? null : formatWall(ms))

/** A delivery as lists show it. */
export const wireDelivery = ({ row, kept }: Delivery): object => ({
  type: 'webhook_delivery',
  id: row.id,
  endpoint: kept.endpoint.slice(kept.endpoint.indexOf('/') + 1),
  event: { id: kept.event, type: kept.type, created_at: formatWall(kept.at), resource_id: kept.id },
  status: kept.status,
  attempts: kept.attempts,
  next_attempt_at: kept.status === 'pending' && kept.attempts > 0 ? formatWall(kept.nextAt) : null,
  last_attempt_at: shownTime(kept.lastAt),
  last_status: kept.lastStatus,
  last_error: kept.lastError,
})
