import type { Listening, Server } from '../server/index.ts'
import type { OpenPool } from './open-pool.ts'

interface Served {
  listening: Listening
  server: Server
  opened: OpenPool
}

const MODEL = {
  asked: 'a simulated one, as asked',
  'no credential': 'a simulated one, since there is no API key (ANTHROPIC_API_KEY)',
} as const

/** Says where it listens, what answers there, and what to try. */
export function announce(
  { listening: { url, port }, server, opened: { pool, simulatedBecause } }: Served,
  json: boolean,
): void {
  const simulated = simulatedBecause !== undefined
  if (json) return console.log(JSON.stringify({ url, port, agents: pool.agents, simulated, keys: !server.open }))
  const key = server.open ? '' : ` -H "x-api-key: $KEY"`
  console.log(`claude-agent-pool serves on ${url}

  agents  ${pool.agents.join(', ')}
  model   ${simulatedBecause === undefined ? 'the real one' : MODEL[simulatedBecause]}
  keys    ${server.open ? 'none: every program on this machine may use it' : 'needed'}

Try it in another terminal:

  curl -N ${url}/sessions/hello/messages${key} -d '{"prompt": "What do you know of pools?"}'
  curl ${url}/pressure
  curl ${url}/openapi.json

Ctrl-C drains and ends it.`)
}
