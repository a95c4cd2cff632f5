import { expect, test } from 'vitest'
import packageJson from '../../../package.json' with { type: 'json' }
import { MemoryStore } from '../../../src/testing/index.ts'
import { served } from '../../fixtures/server.ts'
import type { ServedFakes } from '../../fixtures/server.ts'

/** Samples by their name with labels. */
async function scrape({ ask }: ServedFakes): Promise<Record<string, number>> {
  const response = await ask('GET', '/metrics')
  expect(response.headers.get('content-type')).toContain('text/plain')
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at).replace('claude_agent_pool_', ''), Number(line.slice(at + 1))]
    }),
  )
}

test('what runs, waits, was shed and has left is there, as the pool counts it', async () => {
  const all = await served({}, { limits: { turns: 1 } })
  const { driver, pool, session } = all
  driver.onStart = (process) => (process.answersAtOnce = false)
  const running = (await session('one')).send('go')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  await (await session('two')).send('no').result.catch(() => undefined)
  expect(await scrape(all)).toMatchObject({
    turns_running: 1,
    turns_limit: 1,
    memory_limit_bytes: 64 * 2 ** 30,
    memory_pressure: 0,
    'turns_shed_total{reason="turns"}': 1,
    'turns_started_total{warmth="cold"}': 1,
    'workers{state="busy"}': 1,
    starts_total: 1,
    'sessions_total{event="created"}': 2,
    streams_open: 0,
  })
  process.sayText('hello')
  process.finish()
  await running.result
  await (await session('one')).hibernate()
  const after = await scrape(all)
  expect(after).toMatchObject({
    turns_running: 0,
    'turns_ended_total{outcome="success"}': 1,
    'turn_seconds_count{warmth="cold"}': 1,
    'first_message_seconds_count{warmth="cold"}': 1,
    'workers_closed_total{reason="hibernate"}': 1,
    'kills_total{stage="eof"}': 1,
    'workers{state="busy"}': 0,
    'start_seconds_count{purpose="turn"}': 1,
  })
  expect(after['store_seconds_count{operation="put"}']).toBeGreaterThan(0)
  expect(pool.stats().totals.starts).toBe(1)
})

test('a call of the store that fails is counted, and its error comes through', async () => {
  class Failing extends MemoryStore {
    override create(): Promise<never> {
      return Promise.reject(new Error('no'))
    }
  }
  const all = await served({}, { store: new Failing() })
  await expect(all.session('one')).rejects.toThrow('no')
  expect(await scrape(all)).toMatchObject({ 'store_failures_total{operation="create"}': 1 })
})

test('a call of the store that does not come back shows as lag', async () => {
  const held = Promise.withResolvers<[]>()
  class Slow extends MemoryStore {
    override list(): Promise<[]> {
      return held.promise
    }
  }
  const all = await served({}, { store: new Slow() })
  expect(await scrape(all)).toHaveProperty('store_lag_seconds', 0)
  const listed = all.pool.sessions()
  await all.clock.advance(3_000)
  expect((await scrape(all))['store_lag_seconds']).toBeGreaterThanOrEqual(3)
  held.resolve([])
  await listed
  await all.clock.settle()
  expect(await scrape(all)).toHaveProperty('store_lag_seconds', 0)
})

test('nothing that is measured names a tenant or a session', async () => {
  const all = await served()
  await (await all.pool.session('secret-key', { tenant: 'secret-tenant', agent: 'assistant' })).send('hi').result
  expect(await (await all.ask('GET', '/metrics')).text()).not.toContain('secret')
})

test('how long turns were in each phase is there, and how long the oldest one waits', async () => {
  const all = await served({}, { limits: { turns: 1 }, admission: { mode: 'wait', timeout: '1h' } })
  const { clock, driver, session } = all
  driver.onStart = (process) => (process.answersAtOnce = false)
  const running = (await session('one')).send('go')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  const waiting = (await session('two')).send('go')
  await clock.advance(2_000)
  expect(await scrape(all)).toMatchObject({
    oldest_wait_seconds: 2,
    'turns_waiting_by_reason{reason="turns"}': 1,
    'turns_waiting_by_reason{reason="memory"}': 0,
  })
  await waiting.interrupt()
  process.finish()
  await running.result
  await clock.settle()
  const after = await scrape(all)
  expect(after).toMatchObject({
    oldest_wait_seconds: 0,
    'turn_phase_seconds_sum{phase="queued"}': 2,
    'turn_phase_seconds_count{phase="queued"}': 1,
    'turn_phase_seconds_sum{phase="prompt"}': 2,
  })
  expect(after).not.toHaveProperty('turn_phase_seconds_count{phase="reader"}')
})

test('the host itself is measured: its versions, its memory, its event loop, and how warm turns start', async () => {
  const all = await served()
  expect(await scrape(all)).toHaveProperty('hit_ratio', Number.NaN)
  await (await all.session('one')).send('go').result
  await (await all.session('one')).send('go').result
  const found = await scrape(all)
  expect(found).toMatchObject({
    hit_ratio: 0.5,
    [`build_info{version="${packageJson.version}",node="${process.version}"}`]: 1,
  })
  expect(found['host_rss_bytes']).toBeGreaterThan(10 * 2 ** 20)
  for (const quantile of ['0.5', '0.99', '1'])
    expect(found[`event_loop_lag_seconds{quantile="${quantile}"}`]).toBeGreaterThanOrEqual(0)
})

test('requests to the model have durations, times to the first token, tokens and speed, by model; failed ones only a duration', async () => {
  const all = await served()
  const { driver, clock, session } = all
  driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await session('one')).send('go')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  const said = (fields: object): void => process.say({ parent_tool_use_id: null, ...fields } as never)
  const piece = (event: object): void => said({ type: 'stream_event', event })
  said({ type: 'system', subtype: 'init', session_id: 's' })
  await clock.advance(400)
  said({ type: 'system', subtype: 'api_retry', error: 'overloaded' })
  await clock.advance(200)
  piece({ type: 'message_start', message: { id: 'm', model: 'claude-x', usage: { input_tokens: 7 } } })
  piece({ type: 'content_block_start', content_block: { type: 'text' } })
  await clock.advance(2_000)
  piece({ type: 'message_delta', usage: { output_tokens: 100 } })
  piece({ type: 'message_stop' })
  process.finish()
  await turn.result
  const chat = 'gen_ai_operation_name="chat",gen_ai_provider_name="anthropic"'
  const labels = `${chat},gen_ai_request_model="claude-x"`
  await expect
    .poll(() => scrape(all))
    .toMatchObject({
      [`gen_ai_client_operation_duration_seconds_sum{${labels}}`]: 2.2,
      [`gen_ai_client_operation_duration_seconds_sum{${chat},error_type="_OTHER"}`]: 0.4,
      [`gen_ai_client_operation_time_to_first_chunk_seconds_sum{${labels}}`]: 0.2,
      [`gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="input"}`]: 7,
      [`gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="output"}`]: 100,
      [`output_tokens_per_second_sum{${labels}}`]: 50,
    })
})
