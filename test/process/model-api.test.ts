import { expect, test } from 'vitest'
import { officialOverHttp } from '../fixtures/official-client.ts'
import { MODEL, openSite, until } from '../fixtures/real-pool.ts'

const CALL = { model: MODEL, max_tokens: 100, messages: [{ role: 'user' as const, content: 'hello' }] }

test('the official client calls the model through the credential proxy, and the budget of its tenant holds', async () => {
  const site = await openSite({ apiKey: 'real' })
  const pool = await site.pool({
    api: { baseUrl: site.simulator.url, key: 'real' },
    budgets: { session: { tokens: 1 }, tenant: { tokens: 1_000_000 } },
  })
  const client = await officialOverHttp(pool)
  const message = await client.messages.create(CALL)
  expect(message.content).toMatchObject([{ type: 'text', text: expect.stringContaining('hello') as string }])
  const stream = client.messages.stream(CALL)
  let deltas = 0
  stream.on('text', () => (deltas += 1))
  expect((await stream.finalMessage()).content).toEqual(message.content)
  expect(deltas).toBeGreaterThan(0)
  expect((await client.messages.countTokens(CALL)).input_tokens).toBeGreaterThan(0)
  expect((await client.models.list()).data.map(({ id }) => id)).toContain(MODEL)
  const used = [message, await stream.finalMessage()].reduce(
    (sum, { usage }) =>
      sum +
      usage.input_tokens +
      usage.output_tokens +
      (usage.cache_read_input_tokens ?? 0) +
      (usage.cache_creation_input_tokens ?? 0),
    0,
  )
  await until(async () => expect((await pool.budget('default')).spent.tokens).toBe(used))
  await pool.setBudget('default', { tokens: used })
  await expect(client.messages.create(CALL)).rejects.toMatchObject({ status: 402, type: 'billing_error' })
})
