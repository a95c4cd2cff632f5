import type { Listening, Server } from '../../server/index.ts'
import type { PoolOptions } from '../../index.ts'
import type { OpenPool } from '../shared/open-pool.ts'
import type { ServeFlags, ServePlan } from '../shared/serve-plan.ts'
import { saysEgress } from '../shared/serve-isolation.ts'
import { credentialSource } from '../shared/simulated-model.ts'

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
  { listening: { url, port, operations }, server, opened: { pool, simulatedBecause } }: Served,
  json: boolean,
): void {
  const { agents } = pool
  const simulated = simulatedBecause !== undefined
  const at = server.pageKey === undefined ? `${url}/` : `${url}/#key=${server.pageKey}`
  const own = {
    ...(server.page ? { page: at } : {}),
    ...(operations === undefined ? {} : { operations: operations.url }),
  }
  const { isolation } = pool.stats()
  if (json)
    return console.log(
      JSON.stringify({ url, port, ...own, pid: process.pid, agents, simulated, keys: !server.open, isolation }),
    )
  const key = server.open ? '' : ' -H "x-api-key: $KEY"'
  const run = JSON.stringify({
    threadId: 'thread',
    runId: '1',
    messages: [{ id: '1', role: 'user', content: 'And of AG-UI?' }],
    tools: [],
    context: [],
  })
  const page = server.page ? `\n  page    ${at}` : ''
  console.log(`claude-agent-pool serves on ${url}

  agents  ${agents.join(', ')}
  model   ${simulatedBecause === undefined ? 'the real one' : MODEL[simulatedBecause]}
  isolated  ${isolation.mode === 'none' ? 'no: agents have the rights of this user' : `by ${isolation.mode}, network ${saysEgress(isolation.egress)}`}
  keys    ${server.open ? 'none: every program on this machine may use it' : 'needed'}${page}${operations === undefined ? '' : `\n  operations  ${operations.url}`}

Try in another terminal:

  curl -N${key} ${url}/sessions/hello/messages -d '{"prompt": "What do you know of pools?"}'
  curl -N${key} ${url}/ag-ui/${agents[0]} -d '${run}'
  curl ${url}/readyz ${url}/pressure ${url}/metrics

Ctrl-C drains and ends it.`)
}

/** Says what a config that was checked means. */
export function describePlan(
  { config, host, port, dataDir, database, options, isolation: { options: isolation } }: ServePlan,
  { simulate, json }: ServeFlags,
): void {
  const agents = Object.keys(config.options.agents)
  const keys = (options.keys ?? []).length > 0 || options.jwt !== undefined
  const hasCredential = credentialSource(config.options as unknown as PoolOptions, process.env) !== undefined
  const simulated = simulate === true || !hasCredential
  const own = database === undefined ? {} : { store: database.shown }
  if (json === true)
    return console.log(
      JSON.stringify({
        valid: true,
        file: config.file,
        agents,
        host,
        port,
        dataDir,
        ...own,
        simulated,
        keys,
        isolation: { mode: isolation.mode, egress: isolation.egress },
      }),
    )
  const model = simulate === true ? MODEL.asked : hasCredential ? 'the real one' : MODEL['no credential']
  console.log(`${config.file === undefined ? 'There is no config file: the defaults hold' : `${config.file} is valid`}

  agents  ${agents.join(', ')}
  model   ${model}
  isolated  ${isolation.mode}, network ${saysEgress(isolation.egress)}
  keys    ${keys ? 'needed' : 'none: every program on this machine may use it'}
  listens on ${host}, port ${port}
  data in ${dataDir}${database === undefined ? '' : `\n  sessions in ${database.shown}`}`)
}
