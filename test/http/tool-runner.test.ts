import type Anthropic from '@anthropic-ai/sdk'
import type { BetaManagedAgentsStreamSessionEvents } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema'
import { expect, test } from 'vitest'
import { seeded } from '../../bench/shared/seeded.ts'
import { officialOverHttp, wordsOf } from '../fixtures/official-client.ts'
import { MODEL, openSite } from '../fixtures/real-pool.ts'

/** More for a run by hand: `TOOL_RUNNER_RUNS=200 TOOL_RUNNER_SEED=7`. */
const RUNS = Number(process.env['TOOL_RUNNER_RUNS'] ?? 10)
const SEED = Number(process.env['TOOL_RUNNER_SEED'] ?? 1)

/** Sessions at work at once, and runs of each: most find a live process, whose calls come fastest. */
const AT_ONCE = 2
const RUNS_A_SESSION = 5

const NUMBER = { number: { type: 'string' as const } }
const SCHEMA = { type: 'object' as const, properties: NUMBER, required: ['number'] }

type Random = () => number
type Streamed = AsyncIterable<BetaManagedAgentsStreamSessionEvents>

/** What the agent is told to do: calls of the client's tool and of one that asks, in any order. */
function stepsOf(random: Random): { prompt: string; said: string }[] {
  return Array.from({ length: 1 + Math.floor(random() * 3) }, (_, index) => {
    const word = `word${index}${Math.floor(random() * 1_000)}`
    return random() < 0.6
      ? {
          prompt: `@sim tool mcp__client_tools__lookup_order {"number":"${word}"}`,
          said: `order ${word} is on its way`,
        }
      : { prompt: `@sim bash echo ran ${word}`, said: `ran ${word}` }
  })
}

/** Lets the server work for a while, or not at all. */
async function dawdle(random: Random): Promise<void> {
  for (let turns = random() < 0.5 ? 0 : random() * 200; turns > 0; turns -= 1)
    await new Promise((resolve) => setImmediate(resolve))
}

/** Confirms each call that asks as soon as its event is there; resolves with the agent's words at the end of the turn. */
async function confirmAll({ beta }: Anthropic, id: string, stream: Streamed, random: Random): Promise<string> {
  const { events } = beta.sessions
  const words: string[] = []
  for await (const event of stream) {
    words.push(...wordsOf([event]))
    if (event.type === 'agent.tool_use' && event.evaluated_permission === 'ask') {
      await dawdle(random)
      await events.send(id, { events: [{ type: 'user.tool_confirmation', tool_use_id: event.id, result: 'allow' }] })
    }
    if (event.type === 'session.status_idle' && event.stop_reason.type !== 'requires_action') break
  }
  return words.join('\n')
}

/** One turn under the official runner: what the agent said at the end, and what became of each call. */
async function run(client: Anthropic, id: string, random: Random) {
  const { sessions } = client.beta
  const steps = stepsOf(random)
  const lookup = betaTool({
    name: 'lookup_order',
    description: 'Looks an order up',
    inputSchema: SCHEMA,
    async run({ number }) {
      await dawdle(random)
      return `order ${String(number)} is on its way`
    },
  })
  const runner = sessions.events.toolRunner(id, { tools: [lookup] })
  const stream = await sessions.events.stream(id)
  const confirming = confirmAll(client, id, stream, random).finally(() => runner.abort())
  const calls = (async () => {
    const made = []
    for await (const { name, posted, isError } of runner) made.push({ name, posted, isError })
    return made
  })()
  const text = steps.map(({ prompt }) => prompt).join('\n')
  await sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })
  return { steps, words: await confirming, calls: await calls }
}

test(
  `The official tool runner answers each call of ${RUNS} turns, however soon it does so (TOOL_RUNNER_SEED=${SEED})`,
  { timeout: 60_000 + RUNS * 30_000 },
  async () => {
    const site = await openSite()
    const pool = await site.pool()
    const client = await officialOverHttp(pool)
    const agent = await client.beta.agents.create({
      name: 'Helper',
      model: MODEL,
      tools: [
        { type: 'custom', name: 'lookup_order', description: 'Looks an order up', input_schema: SCHEMA },
        { type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } },
      ],
    })
    let next = 0
    const work = async (): Promise<void> => {
      let id = ''
      for (let number = next++, made = 0; number < RUNS; number = next++, made += 1) {
        if (made % RUNS_A_SESSION === 0)
          ({ id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' }))
        const { steps, words, calls } = await run(client, id, seeded(SEED * 1_000 + number))
        for (const { said } of steps) expect(words, `run ${number}`).toContain(said)
        const own = calls.filter(({ name }) => name === 'lookup_order')
        expect(own, `run ${number}`).toHaveLength(steps.filter(({ said }) => said.startsWith('order')).length)
        expect(own.every(({ posted, isError }) => posted && !isError)).toBe(true)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  },
)
