import type { ResourceKind } from '../../../store/api-store.ts'
import type { SessionEvent } from '../../../index.ts'

/** The events of webhooks that happen on this server. */
export const WEBHOOK_EVENTS = [
  'session.created',
  'session.updated',
  'session.status_run_started',
  'session.status_idled',
  'session.status_rescheduled',
  'session.budget_reached',
  'session.archived',
  'session.deleted',
  'agent.created',
  'agent.updated',
  'agent.archived',
  'environment.created',
  'environment.updated',
  'environment.archived',
  'environment.deleted',
  'vault.created',
  'vault.archived',
  'vault.deleted',
  'vault_credential.created',
  'vault_credential.archived',
  'vault_credential.deleted',
  'vault_credential.refresh_failed',
] as const

/** The type of a webhook's event. */
export type WebhookEventType = (typeof WEBHOOK_EVENTS)[number]

/** The events of a session that webhooks tell of. */
export const TOLD_EVENTS: readonly string[] = [
  'session.status_running',
  'session.status_idle',
  'session.status_rescheduled',
  'session.updated',
]

/** What webhooks tell of an event of a session, in order. */
export function toldOf(event: SessionEvent): WebhookEventType[] {
  switch (event.type) {
    case 'session.status_running':
      return ['session.status_run_started']
    case 'session.status_rescheduled':
      return ['session.status_rescheduled']
    case 'session.updated':
      return ['session.updated']
    case 'session.status_idle':
      return event.stop_reason.type === 'budget_reached'
        ? ['session.status_idled', 'session.budget_reached']
        : ['session.status_idled']
    default:
      return []
  }
}

/** Resources without events of their own: what is done to them is told as it is done. */
const TOLD_KINDS: ReadonlySet<ResourceKind> = new Set(['agent', 'environment', 'vault', 'vault_credential'])

/** The type for a change of a resource; undefined: nothing is told. */
export function typeOf(
  kind: ResourceKind,
  change: 'created' | 'updated' | 'archived' | 'deleted',
): WebhookEventType | undefined {
  if (!TOLD_KINDS.has(kind)) return undefined
  return WEBHOOK_EVENTS.find((type) => type === `${kind}.${change}`)
}
