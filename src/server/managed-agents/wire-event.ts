import { TOOL_NAMES } from './schema.ts'

const API_NAMES = new Map<string, string>(Object.entries(TOOL_NAMES).map(([api, cli]) => [cli, api]))

/** An event as the API shows it: built-in tools have the names there under which agents are given them. */
export function wireEvent<Event extends { type: string }>(event: Event): Event {
  if (event.type !== 'agent.tool_use' || !('name' in event)) return event
  const name = API_NAMES.get(String(event.name))
  return name === undefined ? event : { ...event, name }
}
