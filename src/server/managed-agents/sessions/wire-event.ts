import { SKILL_TOOL, TOOL_NAMES } from '../schema.ts'

const API_NAMES = new Map<string, string>([
  ...Object.entries(TOOL_NAMES).map(([api, cli]): [string, string] => [cli, api]),
  [SKILL_TOOL, 'skill'],
])

/** What an event has beside what the API knows of it. */
interface Beside {
  sdk?: unknown
  metadata?: unknown
}

/** An event as the API shows it: built-in tools have the names there under which agents are given them. */
export function wireEvent<Event extends { type: string }>(event: Event): Event {
  const shown = known(event)
  if (shown.type !== 'agent.tool_use' || !('name' in shown)) return shown
  const name = API_NAMES.get(String(shown.name))
  return name === undefined ? shown : { ...shown, name }
}

function known<Event extends { type: string }>(event: Event & Beside): Event {
  if ('sdk' in event) {
    const { sdk: _, ...shown } = event
    return shown as unknown as Event
  }
  if (event.type !== 'user.message' || !('metadata' in event)) return event
  const { metadata: _, ...shown } = event
  return shown as unknown as Event
}
