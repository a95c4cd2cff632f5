import { expect, test } from 'vitest'
import { onlyHost } from '../../../src/cluster/membership.ts'
import type { Driver, ModelAnswer, TranscriptUsage } from '../../../src/driver/driver.ts'
import { UsageLedger } from '../../../src/usage/usage-ledger.ts'
import { adoptOpenTurns } from '../../../src/sessions/open-turns.ts'
import { newRecord } from '../../../src/sessions/session-record.ts'
import { NOTHING_USED } from '../../../src/usage/usage.ts'
import type { SessionRecord, Usage } from '../../../src/store/store.ts'
import { FakeClock, FakeDriver, MemoryStore } from '../../../src/testing/index.ts'
import { OneHost } from '../../conformance/one-host.ts'

const MODEL = 'claude-test'

/** So many tokens of input, at 0.001 USD each. */
const used = (inputTokens: number): Usage => ({ ...NOTHING_USED, inputTokens, costUsd: inputTokens / 1_000 })

const total = (inputTokens: number): TranscriptUsage['saved'] =>
  ({
    total_cost_usd: inputTokens / 1_000,
    modelUsage: {
      [MODEL]: {
        inputTokens,
        outputTokens: 0,
        cacheReadInputTokens: 0,
        cacheCreationInputTokens: 0,
        costUSD: inputTokens / 1_000,
      },
    },
  }) as unknown as TranscriptUsage['saved']

/** Its output costs nothing to speak of: it says nothing. */
const answer = (at: number, inputTokens: number, id = `m${at}`): TranscriptUsage['unsaved'][number] => ({
  at,
  answer: {
    id,
    model: MODEL,
    content: [],
    usage: { input_tokens: inputTokens, output_tokens: 0 },
  } as unknown as ModelAnswer,
})

/** The accounts of a host that has just begun, a session of the host before it, and what its transcript says. */
function site(usage: Partial<SessionRecord['usage']> = {}) {
  const clock = new FakeClock()
  const record: SessionRecord = {
    ...newRecord({ tenant: 't', key: 'k', agent: 'a', cwd: '/w' }, 0),
    sdkSessionId: 'conversation',
    begun: true,
    usage: { total: used(100), reported: used(100), saved: NOTHING_USED, notedAt: 10, ...usage },
  }
  const transcript: TranscriptUsage = { saved: undefined, unsaved: [] }
  const driver: Driver = Object.assign(new FakeDriver(clock), {
    usage: async (_place: unknown, after: number): Promise<TranscriptUsage> => ({
      saved: transcript.saved,
      unsaved: transcript.unsaved.filter(({ at }) => at > after),
    }),
  })
  const directory = { home: '', configDir: '', tmpDir: '', workspaces: '', earlier: '' }
  const accounts = new UsageLedger({ clock, driver, places: { makePlaces: async () => directory } })
  return { accounts, clock, record, transcript, input: (): number => record.usage?.total.inputTokens ?? 0 }
}

test('Answers of a turn whose host died count as estimated, for its session, agent and tenant', async () => {
  const { accounts, record, transcript } = site()
  transcript.unsaved = [answer(5, 100), answer(20, 30), answer(30, 12)]
  expect(await accounts.catchUp(record, { resuming: false })).toBe(true)
  const lost = { inputTokens: 42, estimated: true }
  expect(record.usage?.total).toMatchObject({ inputTokens: 142, estimated: true })
  const { total: sum, byAgent, byTenant } = accounts.snapshot()
  expect([sum, byAgent['a'], byTenant['t']]).toMatchObject([lost, lost, lost])
})

test('They cost as much as what the session had used before, in proportion', async () => {
  const { accounts, record, transcript } = site()
  transcript.unsaved = [answer(20, 40)]
  await accounts.catchUp(record, { resuming: false })
  // An empty list is two characters, and so a token of output.
  expect(record.usage?.total.costUsd).toBeCloseTo(0.1 + 0.04 + 0.005, 10)
})

test('A total that the process has saved as its host died is exact', async () => {
  const { accounts, record, transcript, input } = site()
  transcript.saved = total(140)
  expect(await accounts.catchUp(record, { resuming: false })).toBe(true)
  expect(input()).toBe(140)
  expect(record.usage?.total.estimated).toBe(false)
})

test('Nothing is counted twice, however often one looks', async () => {
  const { accounts, record, transcript, input } = site()
  transcript.saved = total(100)
  transcript.unsaved = [answer(20, 30)]
  for (const resuming of [false, false, true, true]) {
    await accounts.catchUp(record, { resuming })
    expect(input()).toBe(130)
  }
  expect(await accounts.catchUp(record, { resuming: true })).toBe(false)
})

test('What was reckoned and is saved a moment later counts once', async () => {
  const { accounts, record, transcript, input } = site()
  transcript.unsaved = [answer(20, 30)]
  await accounts.catchUp(record, { resuming: false })
  expect(input()).toBe(130)
  Object.assign(transcript, { saved: total(145), unsaved: [] })
  await accounts.catchUp(record, { resuming: true })
  expect(input()).toBe(145)
})

test('What a process had told and not saved is told again by nobody, and the next goes on from what was saved', async () => {
  const { accounts, record, transcript, input } = site({ saved: used(60) })
  Object.assign(transcript, { saved: total(60), unsaved: [answer(5, 40)] })
  await accounts.catchUp(record, { resuming: true })
  expect(input()).toBe(100)
  expect(record.usage).toMatchObject({ reported: { inputTokens: 60 }, saved: { inputTokens: 60 } })
})

test('A session that died in its first turn counts from its beginning', async () => {
  const { accounts, record, transcript, input } = site()
  record.usage = undefined
  transcript.unsaved = [answer(1, 25)]
  await accounts.catchUp(record, { resuming: false })
  expect(input()).toBe(25)
})

test('A record of an earlier release counts what comes after it', async () => {
  const { accounts, record, transcript, input } = site({ notedAt: undefined })
  transcript.unsaved = [answer(20, 30)]
  await accounts.catchUp(record, { resuming: true })
  expect(input()).toBe(100)
})

test('After a start all turns are counted whose host died, and what cannot be read is left for later', async () => {
  const { accounts, clock, record, transcript, input } = site()
  const store = new MemoryStore()
  const dead = await OneHost.of(store)
  await dead.put({ ...record, key: 'broken', uid: 'other', sdkSessionId: 'other', cwd: '/broken' })
  await dead.put(record)
  for (const uid of ['other', record.uid])
    await dead.appendEvents(uid, [{ number: 1, id: 'e', type: 'user.message', at: 0, json: '{}' }], 'open')
  Object.defineProperty(transcript, 'saved', {
    get: () => {
      Object.defineProperty(transcript, 'saved', { value: total(140) })
      throw new Error('unreadable')
    },
  })
  await adoptOpenTurns({ store, clock, ledger: accounts, member: onlyHost(await store.register('here')) })
  expect(input()).toBe(100)
  const kept = (await Promise.all(['broken', 'k'].map((key) => store.get('t', key)))).map(
    (of) => of?.usage?.total.inputTokens,
  )
  expect(new Set(kept)).toEqual(new Set([100, 140]))
})

test('Usage is summed by tenant and agent for the first 1,000 pairs; the others are one sum', async () => {
  const { accounts, transcript, record } = site()
  expect(accounts.snapshot().otherTenantsAndAgents).toBeUndefined()
  for (let index = 0; index < 1_003; index += 1) {
    transcript.unsaved = [answer(20, 7)]
    await accounts.catchUp(
      { ...record, tenant: `t${index % 1_002}`, usage: structuredClone(record.usage) } as SessionRecord,
      {
        resuming: false,
      },
    )
  }
  const { byTenantAndAgent, otherTenantsAndAgents } = accounts.snapshot()
  expect(byTenantAndAgent).toHaveLength(1_000)
  expect(byTenantAndAgent[0]).toMatchObject({ tenant: 't0', agent: 'a', usage: { inputTokens: 14 } })
  expect(otherTenantsAndAgents).toMatchObject({ inputTokens: 14 })
})
