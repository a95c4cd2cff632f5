/** Hosts that share a PostgreSQL, beside one host: what the way through another host costs. After `npm run build`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startOwnPostgres } from '../test/fixtures/postgres-server.ts'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Round, Row } from './shared/report.ts'
import { serve } from './shared/serving.ts'
import { connections, turnOverHttp } from './shared/turn-over-http.ts'

const WARM_UP_TURNS = 10

/** Servers that have run for a while have compiled code. The owner would get twice as many requests. */
const WARM_UP_REQUESTS = 400

/** A live turn, asked of its owner and of another host, in turns: the same session, the same process. */
async function wrongHost(target: Bench): Promise<Row[]> {
  await using server = await startOwnPostgres()
  const env = { CLAUDE_AGENT_POOL_STORE: server.url('bench') }
  const owner = await serve(target, 0, env)
  const other = await serve(target, 0, env)
  const first: Round[] = []
  await turnOverHttp(owner.url, 'warm-up')
  for (let request = 0; request < WARM_UP_REQUESTS; request += 1)
    await (await fetch(`${other.url}/sessions/warm-up/messages`)).text()
  for (let pair = 0; pair < (target.quick ? 1 : 5); pair += 1) {
    const key = `cluster-${pair}`
    await turnOverHttp(owner.url, key)
    await calm()
    const round: Round = { ours: [], theirs: [] }
    for (let turn = 0; turn < WARM_UP_TURNS + (target.quick ? 20 : 60); turn += 1) {
      for (const side of turn % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        await sleep(5)
        const times = await turnOverHttp(side === 'ours' ? other.url : owner.url, key)
        if (turn >= WARM_UP_TURNS) round[side].push(times.first)
      }
    }
    first.push(round)
  }
  connections.destroy()
  for (const { child } of [owner, other]) child.kill('SIGTERM')
  return [
    {
      what: 'live turn, first event',
      rounds: first,
      ours: 'through another host',
      theirs: 'at its owner',
      unit: 'ms',
      compare: 'ours - theirs',
      reach: { atMost: 2 },
    },
  ]
}

await bench(async (target) => [...(await wrongHost(target))])
