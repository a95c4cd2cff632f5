import { expect, test } from 'vitest'
import type { Session, SessionEvent } from '../../../src/index.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { StoredEvent } from '../../../src/store/store.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'
import { OneHost } from '../../conformance/one-host.ts'

type Options = Parameters<typeof fakes>[0]

/** A session whose process answers when the test says so. */
async function silent(options: Options = {}) {
  const all = await fakes(options)
  all.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await all.session('k')
  await s.warm()
  return { ...all, s, process: await all.driver.process(0) }
}

const activeMs = async (session: Session): Promise<number | undefined> => (await session.info()).activeMs

test('A session counts the time in which its turns ran, that which runs included', async () => {
  const { s, process, driver, clock } = await silent()
  expect(await activeMs(s)).toBeUndefined()
  for (const before of [0, 3_000]) {
    const turn = s.send('hello')
    await driver.until(() => process.unanswered === 1)
    await clock.advance(2_000)
    expect(await activeMs(s)).toBe(before + 2_000)
    await clock.advance(1_000)
    process.finish()
    await turn.result
    await clock.advance(10_000)
    expect(await activeMs(s)).toBe(before + 3_000)
  }
})

test('The time in which a turn waits for an answer does not count', async () => {
  const answer = Promise.withResolvers<{ behavior: 'deny'; message: string }>()
  const { s, process, driver, clock } = await silent({
    agents: { assistant: { ...NO_SPARES, canUseTool: () => answer.promise } },
  })
  const turn = s.send('hello')
  await driver.until(() => process.unanswered === 1)
  await clock.advance(1_000)
  const options = { signal: new AbortController().signal, toolUseID: 'one', requestId: 'r' }
  const asked = process.spec.options.canUseTool?.('Bash', {}, options)
  for await (const { event } of s.events()) if (event.type === 'session.status_idle') break
  await clock.advance(60_000)
  answer.resolve({ behavior: 'deny', message: 'no' })
  await asked
  await clock.advance(500)
  process.finish()
  await turn.result
  expect(await activeMs(s)).toBe(1_500)
})

test('What a session has counted outlives its host, and a turn whose host died counts up to its last event', async () => {
  const store = new MemoryStore()
  const { pool, s, process, driver, clock } = await silent({ store })
  const turn = s.send('hello')
  await driver.until(() => process.unanswered === 1)
  await clock.advance(1_000)
  process.finish()
  await turn.result
  await pool.close()
  const [record] = await store.list({ limit: 1 })
  const uid = record?.uid ?? ''
  const { last } = await store.eventTotals(uid)
  const waits = { type: 'session.status_idle', stop_reason: { type: 'requires_action', event_ids: [] } }
  const left: [number, Partial<SessionEvent>][] = [
    [10_000, { type: 'session.status_running' }],
    [14_000, waits as Partial<SessionEvent>],
    [90_000, { type: 'session.status_running' }],
    [91_000, { type: 'agent.thinking' }],
  ]
  const events = left.map(([at, event], index): StoredEvent => {
    const id = `left ${index}`
    return { number: last + 1 + index, id, type: event.type ?? '', at, json: JSON.stringify({ ...event, id }) }
  })
  const dead = await OneHost.of(store, 'data directory')
  await dead.claim(uid)
  await dead.appendEvents(uid, events, 'open')
  const { session } = await fakes({ store, driver })
  expect(await activeMs(await session('k'))).toBe(1_000 + 4_000 + 1_000)
})

test('A fork has not run', async () => {
  const { s, process, driver, clock } = await silent()
  const turn = s.send('hello')
  await driver.until(() => process.unanswered === 1)
  await clock.advance(1_000)
  process.finish()
  await turn.result
  expect(await activeMs(await s.fork('fork'))).toBeUndefined()
})
