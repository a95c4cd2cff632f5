import { expect, test } from 'vitest'
import type { AgentOptions, PoolOptions } from '../../src/index.ts'
import { asked, event, MODEL, modelAsked, openSite, say, textOf, until, workerOf } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const agent = (options: AgentOptions = {}): PoolOptions['agents'] => ({
  a: { model: MODEL, spares: { max: 0 }, unboundSpares: { max: 0 }, ...options },
})

test('A turn that takes longer than its time is ended by name, and its process serves the next', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agent({ limits: { turnTimeoutMs: 1_500 } }) })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  await expect(session.send('first\n@sim tokens 100000 pace 20').result).rejects.toMatchObject({
    name: 'TurnTimeoutError',
    code: 'turn_timeout',
    limit: 'turnTimeout',
    limitMs: 1_500,
    message: expect.stringContaining('limits.turnTimeout'),
  })
  const { pid } = workerOf(pool, 'one')
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'live' })
  expect(workerOf(pool, 'one').pid).toBe(pid)
})

test('A process that says nothing ends its turn by the limit for silence; one that goes on slowly does not', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: agent({ includePartialMessages: true }),
    limits: { inactivityTimeoutMs: 2_000 },
  })
  const session = await pool.session('one', { agent: 'a' })
  const slow = await textOf(session.send('@sim tokens 12 pace 300'))
  expect(slow).toMatch(/^\[turn 1\]/)
  await expect(session.send('second\n@sim silence').result).rejects.toMatchObject({
    name: 'TurnTimeoutError',
    limit: 'inactivityTimeout',
    limitMs: 2_000,
    message: expect.stringContaining('limits.inactivityTimeout'),
  })
  expect(await say(session, 'third')).toMatchObject({ text: '[turn 3] You said: third' })
})

test.runIf(WHOLE)('One turn may have other limits than its agent', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agent({ limits: { inactivityTimeout: '10m' } }) })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  const turn = session.send('first\n@sim silence', { limits: { inactivityTimeout: '1s' } })
  await expect(turn.result).rejects.toMatchObject({ limit: 'inactivityTimeout', limitMs: 1_000 })
  await expect(session.send('second', { limits: { inactivityTimeout: 'soon' } }).result).rejects.toMatchObject({
    name: 'ConfigError',
  })
  expect(asked(site, 'second')).toEqual([])
})

test.runIf(WHOLE)('A question that waits for its answer is not silence', async () => {
  const site = await openSite()
  const answer = Promise.withResolvers<void>()
  const pool = await site.pool({
    agents: agent({
      limits: { inactivityTimeoutMs: 4_000, turnTimeout: '1m' },
      canUseTool: async (_name, input) => {
        await answer.promise
        return { behavior: 'allow', updatedInput: input }
      },
    }),
  })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  const turn = session.send('@sim bash touch file')
  await until(() => expect(pool.workers()[0]?.pinnedBy).toMatchObject({ permissionRequests: 1 }))
  // Another session's turn outlasts the limit for silence.
  const other = await pool.session('two', { agent: 'a' })
  await other.warm()
  expect(await textOf(other.send('@sim delay 6000', { limits: { inactivityTimeout: '1m' } }))).toContain('[turn 1]')
  answer.resolve()
  expect(await textOf(turn)).toContain('[turn 1] tool said:')
})

test.runIf(WHOLE)(
  'A process that does not heed an interrupt is ended after its grace, and the session goes on',
  async () => {
    const site = await openSite()
    const pool = await site.pool({
      agents: agent({ limits: { turnTimeoutMs: 5_000 } }),
      starts: { eofGraceMs: 100, sigtermGraceMs: 100 },
    })
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'first')
    const { pid } = workerOf(pool, 'one')
    const turn = session.send('second\n@sim silence')
    await modelAsked(site, 'second')
    process.kill(pid, 'SIGSTOP')
    const left = event(pool, 'worker.closed')
    await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError', limit: 'turnTimeout' })
    const { reason, exit, termination } = await left
    expect(['unresponsive', 'limit']).toContain(reason)
    expect(termination).toMatchObject({ stage: 'sigkill', left: 0 })
    expect(termination.processes).toBeGreaterThanOrEqual(1)
    expect(exit).toMatchObject({ cause: 'ended', signal: 'SIGKILL' })
    expect((await say(session, 'third')).warmth).toBe('resumed')
  },
)

test.runIf(WHOLE)('The limits of the SDK come through as its own results, and the session goes on', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: {
      ...agent({ maxTurns: 1, allowedTools: ['Bash'] }),
      b: { model: MODEL, maxBudgetUsd: 0.000_001, spares: { max: 0 } },
    },
  })
  const one = await pool.session('one', { agent: 'a' })
  expect(await textOf(one.send('@sim bash echo one\n@sim bash echo two'))).toBe('error_max_turns')
  expect((await say(one, 'next')).text).toContain('You said: next')
  const two = await pool.session('two', { agent: 'b' })
  expect(await textOf(two.send('first'))).toBe('error_max_budget_usd')
  expect(pool.stats().totals.turnsByOutcome).toMatchObject({ error_max_turns: 1, error_max_budget_usd: 1, success: 1 })
})

test.runIf(WHOLE)('A place is free for whoever saw the end of the turn that had it', async () => {
  const site = await openSite()
  const pool = await site.pool({ limits: { turns: 1 } })
  const [one, two] = await Promise.all([pool.session('one', { agent: 'a' }), pool.session('two', { agent: 'a' })])
  await say(one, 'first')
  const running = one.send('second\n@sim silence')
  await modelAsked(site, 'second')
  await expect(two.send('first').result).rejects.toMatchObject({
    name: 'CapacityError',
    reason: 'turns',
    retryAfterMs: expect.any(Number),
    facts: { running: 1, limit: 1, waiting: 0 },
  })
  void running.interrupt()
  await running.result
  expect((await say(two, 'first')).text).toBe('[turn 1] You said: first')
  expect((await say(one, 'third')).text).toBe('[turn 3] You said: third')
})

test.runIf(WHOLE)(
  'A session whose process is in the way of another hibernates, and the other gets its place',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ limits: { workers: 1 } })
    const [one, two] = await Promise.all([pool.session('one', { agent: 'a' }), pool.session('two', { agent: 'a' })])
    await say(one, 'first')
    const left = event(pool, 'worker.closed')
    expect((await say(two, 'first')).text).toBe('[turn 1] You said: first')
    expect(await left).toMatchObject({ reason: 'evicted', worker: { session: 'one' } })
    expect(await say(one, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
    expect(pool.workers()).toHaveLength(1)
  },
)

const DEAF = { deaf: { command: 'sleep', args: ['1000'] } }

test.runIf(WHOLE)('A turn that ends while its process waits for a deaf MCP server names it', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agent({ mcpServers: DEAF }), starts: { mcpTimeout: '10m' } })
  const session = await pool.session('one', { agent: 'a' })
  await expect(session.send('first', { limits: { inactivityTimeout: '5s' } }).result).rejects.toMatchObject({
    name: 'TurnTimeoutError',
    message: expect.stringContaining('the MCP server "deaf"'),
  })
})

test('A deaf MCP server costs no more than its limit, and an event names it', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agent({ mcpServers: DEAF }), starts: { mcpTimeout: '2s' } })
  const failed = event(pool, 'mcp.failed')
  const session = await pool.session('one', { agent: 'a' })
  expect(await say(session, 'first')).toMatchObject({ text: expect.stringContaining('You said: first') })
  expect(await failed).toMatchObject({
    worker: { session: 'one', agent: 'a' },
    server: 'deaf',
    status: 'failed',
    error: expect.stringContaining('timed out after 2000ms'),
  })
})
