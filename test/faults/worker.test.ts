import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { event, isWritten, modelAsked, openSite, say, until, workerOf } from '../fixtures/real-pool.ts'
import { fakeAgent, MCP_SERVER, realAgent } from './agents.ts'
import { expectTrueGauges, measured } from './assertions.ts'
import { oneSession } from './one-session.ts'
import { ALL_WAYS, bashTree, treeStands } from './trees.ts'
import { Witness } from './witness.ts'

/** What a pool needs to end a process that hangs, once its limit is reached. */
const GRACE_MS = 7_000

const LIMIT_MS = 2_000

/** For what a real process has to reach before it hangs, also on a busy machine. */
const SLOW_LIMIT_MS = 6_000

test('Of an idle worker that is killed nothing is left, and the next turn resumes', async () => {
  const { pool, witness, session, goesOn } = await oneSession(realAgent())
  await say(session, 'first')
  await witness.sees(MCP_SERVER)
  const killedAt = performance.now()
  process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
  measured('worker SIGKILLed while idle', await witness.goneWithin(2_000, killedAt))
  await goesOn(2)
})

test('Of a worker that is killed in mid-turn nothing is left, and the next turn resumes', async () => {
  const { site, pool, witness, session, goesOn } = await oneSession(realAgent())
  await say(session, 'first')
  const turn = session.send(await bashTree(site, ALL_WAYS))
  await treeStands(witness, ALL_WAYS)
  const killedAt = performance.now()
  process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
  await expect(turn.result).rejects.toMatchObject({ name: 'WorkerExitedError', signal: 'SIGKILL' })
  measured('worker SIGKILLed in mid-turn', await witness.goneWithin(2_000, killedAt))
  await goesOn(3)
})

test('A worker that hangs in mid-turn is ended at its limit, with all it started', async () => {
  const { site, pool, witness, session, goesOn } = await oneSession(realAgent())
  await say(session, 'first')
  const turn = session.send(await bashTree(site, ALL_WAYS), { limits: { inactivityTimeoutMs: SLOW_LIMIT_MS } })
  await treeStands(witness, ALL_WAYS)
  const stoppedAt = performance.now()
  process.kill(workerOf(pool, 'one').pid, 'SIGSTOP')
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError' })
  const ms = await witness.goneWithin(SLOW_LIMIT_MS + GRACE_MS, stoppedAt)
  measured(`worker SIGSTOPped in mid-turn, after its limit`, ms - SLOW_LIMIT_MS)
  await goesOn(3)
})

test('A worker that waits for the model and hangs is ended at its limit', async () => {
  const { site, pool, witness, session, goesOn } = await oneSession(realAgent())
  await say(session, 'first')
  await witness.sees(MCP_SERVER)
  const turn = session.send('second\n@sim silence', { limits: { turnTimeoutMs: SLOW_LIMIT_MS } })
  const sentAt = performance.now()
  await modelAsked(site, 'second')
  await isWritten(site, 'second')
  process.kill(workerOf(pool, 'one').pid, 'SIGSTOP')
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError' })
  const ms = await witness.goneWithin(SLOW_LIMIT_MS + GRACE_MS, sentAt)
  measured('worker SIGSTOPped while it waits for the model, after its limit', ms - SLOW_LIMIT_MS)
  await goesOn(3)
})

test('A process that hangs at its start is ended at the limit for starts', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: { a: fakeAgent({ env: { FAULT_START: 'hang' } }), b: realAgent() },
    starts: { timeoutMs: LIMIT_MS },
  })
  const witness = new Witness(site.root)
  const session = await pool.session('one', { agent: 'a' })
  const sentAt = performance.now()
  const turn = session.send('first')
  await expect(turn.result).rejects.toMatchObject({ name: 'StartError', message: expect.stringContaining('not ready') })
  const ms = await witness.goneWithin(LIMIT_MS + GRACE_MS, sentAt)
  measured('worker hung at start, after its limit', ms - LIMIT_MS)
  await until(() => expectTrueGauges(pool.stats(), pool.workers()))
})

test('A worker that is stopped while it starts is ended at the limit for starts', async () => {
  const { pool, witness, session, goesOn } = await oneSession(realAgent(), { starts: { timeoutMs: 5_000 } })
  const started = event(pool, 'worker.started')
  const turn = session.send('first')
  const { worker } = await started
  const startedAt = performance.now()
  process.kill(worker.pid ?? 0, 'SIGSTOP')
  await expect(turn.result).rejects.toMatchObject({ name: 'StartError' })
  const ms = await witness.goneWithin(5_000 + GRACE_MS, startedAt)
  measured('worker SIGSTOPped while it starts, after its limit', ms - 5_000)
  await goesOn(1)
})

test('A process that ignores SIGTERM and the end of its input is ended at its limit', async () => {
  const { witness, session, goesOn } = await oneSession(fakeAgent())
  await say(session, 'first')
  const sentAt = performance.now()
  const turn = session.send('second\n@fault deaf\n@fault silence', { limits: { inactivityTimeoutMs: LIMIT_MS } })
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError' })
  const ms = await witness.goneWithin(LIMIT_MS + GRACE_MS, sentAt)
  measured('worker that ignores SIGTERM in mid-turn, after its limit', ms - LIMIT_MS)
  await goesOn(3)
})

test('An idle process that ignores SIGTERM and the end of its input is killed when it is to go', async () => {
  const { pool, witness, session, goesOn } = await oneSession(fakeAgent(), {
    starts: { eofGraceMs: 500, sigtermGraceMs: 1_000 },
  })
  await say(session, 'first\n@fault deaf')
  const left = event(pool, 'worker.closed')
  const toldAt = performance.now()
  await session.hibernate()
  measured('worker that ignores SIGTERM, after graces of 1.5 s', await witness.goneWithin(GRACE_MS, toldAt))
  expect((await left).termination).toMatchObject({ stage: 'sigkill', left: 0 })
  expectTrueGauges(pool.stats(), pool.workers())
  await goesOn(2)
})

/** Ten times as fast as the real one. */
const hurried: Clock = {
  now: () => systemClock.now() * 10,
  wall: () => systemClock.wall(),
  after: (delayMs, callback, options) => systemClock.after(delayMs / 10, callback, options),
}

test('An idle worker that hangs is found by its health probe, and the next turn resumes', async () => {
  // On the hurried clock a probe comes after 3 s and has 1 s; starts and ends keep their real time.
  const starts = { timeout: '10m', eofGrace: '5s', sigtermGrace: '10s' }
  const { pool, witness, session, goesOn } = await oneSession(realAgent(), { clock: hurried, starts })
  await say(session, 'first')
  await witness.sees(MCP_SERVER)
  const left = event(pool, 'worker.closed')
  process.kill(workerOf(pool, 'one').pid, 'SIGSTOP')
  expect(await left).toMatchObject({ reason: 'unresponsive' })
  await witness.goneWithin(GRACE_MS, performance.now())
  expectTrueGauges(pool.stats(), pool.workers())
  await goesOn(2)
})
