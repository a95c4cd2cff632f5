import Anthropic, { RateLimitError } from '@anthropic-ai/sdk'
import { accumulateManagedAgentsEvent } from '@anthropic-ai/sdk/lib/sessions/accumulate'
import type { AccumulatedEvent } from '@anthropic-ai/sdk/lib/sessions/accumulate'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { NO_SPARES } from '../../fixtures/fakes.ts'
import { served } from '../../fixtures/server.ts'
import type { ServedFakes } from '../../fixtures/server.ts'

const say = (text: string) => ({ type: 'user.message' as const, content: [{ type: 'text' as const, text }] })

const USAGE = { input_tokens: 0, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }

const streamed = (event: object): SDKMessage =>
  ({ type: 'stream_event', event, parent_tool_use_id: null, uuid: 'u', session_id: 's' }) as unknown as SDKMessage

const MESSAGE_START = {
  type: 'message_start',
  message: { id: 'm1', type: 'message', role: 'assistant', content: [], usage: USAGE },
}

const whole = (id: string, text: string): SDKMessage =>
  ({
    type: 'assistant',
    message: { id, role: 'assistant', content: [{ type: 'text', text }], model: 'claude-fake', usage: USAGE },
    parent_tool_use_id: null,
  }) as unknown as SDKMessage

/** Anthropic's own client, and the status of every answer that it got. */
function official({ server }: ServedFakes, maxRetries?: number): { client: Anthropic; statuses: number[] } {
  const statuses: number[] = []
  const client = new Anthropic({
    apiKey: 'anybody',
    baseURL: 'http://localhost',
    ...(maxRetries === undefined ? {} : { maxRetries }),
    async fetch(url, init) {
      const response = await server.fetch(new Request(url as string, init as RequestInit))
      statuses.push(response.status)
      return response
    },
  })
  return { client, statuses }
}

const begin = async (client: Anthropic): Promise<string> =>
  (await client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local' })).id

test('a full pool is a 429 that the client retries by itself, and the message is taken when there is room', async () => {
  const all = await served({}, { limits: { turns: 1 } })
  const { client, statuses } = official(all)
  const [one, two] = [await begin(client), await begin(client)]
  // The pool has learned that turns are short: so is the time after which it asks to be tried again.
  for (let turn = 0; turn < 20; turn += 1) await (await all.pool.session(one)).send('quick').result
  const process = await all.driver.process(0)
  process.answersAtOnce = false
  await client.beta.sessions.events.send(one, { events: [say('first')] })
  await all.driver.until(() => process.unanswered === 1)
  const impatient = official(all, 0)
  const refused = await impatient.client.beta.sessions.events.send(two, { events: [say('second')] }).catch((e) => e)
  expect(refused).toBeInstanceOf(RateLimitError)
  const { headers, error } = refused as RateLimitError
  expect(error).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } })
  expect(Number(headers?.get('retry-after-ms'))).toBeGreaterThan(0)
  const sending = client.beta.sessions.events.send(two, { events: [say('second')] })
  await expect.poll(() => statuses.at(-1), { timeout: 5_000 }).toBe(429)
  process.finish()
  expect((await sending).data).toMatchObject([{ type: 'user.message', content: [{ text: 'second' }] }])
  expect(statuses.slice(-2)).toEqual([429, 200])
})

test('a tenant that has had its requests waits as long as it is told, and no longer', async () => {
  // Ten at once, then one every 600 ms: on the real clock, by which the client waits.
  const all = await served({ clock: systemClock, tenantLimits: { requestsPerMinute: 100 } })
  await Promise.all(Array.from({ length: 20 }, () => all.ask('GET', '/v1/agents')))
  const { client, statuses } = official(all)
  for (let request = 0; request < 2; request += 1) await client.beta.agents.retrieve('agent_assistant')
  expect(statuses.filter((status) => status === 200)).toHaveLength(2)
  expect(statuses).toContain(429)
})

test('its accumulator follows a message from its first words, and ends with the message that is kept', async () => {
  const all = await served({}, { agents: { assistant: { ...NO_SPARES, includePartialMessages: true } } })
  all.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const { client } = official(all)
  const id = await begin(client)
  const stream = await client.beta.sessions.events.stream(id, { event_deltas: ['agent.message'] })
  await client.beta.sessions.events.send(id, { events: [say('hello')] })
  const process = await all.driver.process(0)
  await all.driver.until(() => process.prompts.length === 1)
  const texts = ['Once ', 'upon ', 'a time']
  const delta = (text: string): SDKMessage =>
    streamed({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
  const seen: string[] = []
  let message: AccumulatedEvent | undefined
  for await (const event of stream) {
    message = accumulateManagedAgentsEvent(message, event)
    if (event.type === 'session.status_running') {
      process.say(streamed(MESSAGE_START))
      process.say(streamed({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }))
      process.say(delta(texts[0] as string))
    }
    if (event.type === 'event_delta') {
      seen.push(message?.content.map((block) => (block.type === 'text' ? block.text : '')).join('') ?? '')
      const next = texts[seen.length]
      process.say(next === undefined ? whole('m1', texts.join('')) : delta(next))
    }
    if (event.type === 'agent.message') process.finish()
    if (event.type === 'session.status_idle') break
    // What nobody waits for is written a moment later.
    await all.clock.advance(100)
  }
  expect(seen).toEqual(['Once ', 'Once upon ', 'Once upon a time'])
  const { data } = await client.beta.sessions.events.list(id, { types: ['agent.message'] })
  expect(message).toEqual(data?.[0])
})

test('its page classes go through every list to the end, once', async () => {
  const all = await served()
  const { client } = official(all)
  const made = []
  for (let index = 0; index < 7; index += 1) {
    made.push(await begin(client))
    await all.clock.advance(1)
  }
  const sessions = []
  for await (const { id } of client.beta.sessions.list({ limit: 2 })) sessions.push(id)
  expect(sessions).toEqual(made.toReversed())
  const [id = ''] = made
  await client.beta.sessions.events.send(id, { events: [say('hello')] })
  await expect.poll(async () => (await client.beta.sessions.retrieve(id)).status, { timeout: 5_000 }).toBe('idle')
  const listed = await client.beta.sessions.events.list(id, { limit: 100 })
  const [forth, back] = [[] as string[], [] as string[]]
  for await (const event of client.beta.sessions.events.list(id, { limit: 2 })) forth.push(event.id)
  for await (const event of client.beta.sessions.events.list(id, { limit: 2, order: 'desc' })) back.push(event.id)
  expect(forth).toEqual(listed.data?.map((event) => event.id))
  expect(back).toEqual(forth.toReversed())
})
