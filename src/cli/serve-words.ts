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

/** Says where it listens, what answers there, and three things to try. */
export function announce(
  { listening: { url, port }, server, opened: { pool, simulatedBecause } }: Served,
  json: boolean,
): void {
  const { agents } = pool
  const simulated = simulatedBecause !== undefined
  if (json) return console.log(JSON.stringify({ url, port, agents, simulated, keys: !server.open }))
  const key = server.open ? '' : ' -H "x-api-key: $KEY"'
  const run = JSON.stringify({
    threadId: 'thread',
    runId: '1',
    messages: [{ id: '1', role: 'user', content: 'And of AG-UI?' }],
    tools: [],
    context: [],
  })
  console.log(`claude-agent-pool serves on ${url}

  agents  ${agents.join(', ')}
  model   ${simulatedBecause === undefined ? 'the real one' : MODEL[simulatedBecause]}
  keys    ${server.open ? 'none: every program on this machine may use it' : 'needed'}

Try in another terminal:

  curl -N${key} ${url}/sessions/hello/messages -d '{"prompt": "What do you know of pools?"}'
  curl -N${key} ${url}/ag-ui/${agents[0]} -d '${run}'
  curl ${url}/readyz ${url}/pressure ${url}/metrics

Ctrl-C drains and ends it.`)
}
