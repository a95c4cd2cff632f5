import { expect, test } from 'vitest'
import { createPool } from '../../src/index.ts'
import type { Pool } from '../../src/index.ts'
import { event, MODEL, modelAsked, openSite, processesOf, record, say, textOf } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const closed = { name: 'PoolClosedError', code: 'pool_closed' }

test('Closing ends the turns that run by name, and leaves no process; their sessions stay', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const [one, two] = await Promise.all(['one', 'two'].map((key) => pool.session(key, { agent: 'a' })))
  if (one === undefined || two === undefined) return expect.unreachable()
  await say(one, 'first')
  const running = one.send('second\n@sim silence')
  const queued = one.send('third', { onBusy: 'queue' })
  const reading = (async () => {
    for await (const message of two.send('first\n@sim silence')) expect(message.type).not.toBe('result')
  })()
  reading.catch(() => undefined)
  await modelAsked(site, 'second')
  await pool.close()
  await expect(running.result).rejects.toMatchObject({ ...closed, message: expect.stringContaining('next one') })
  await expect(queued.result).rejects.toMatchObject(closed)
  await expect(reading).rejects.toMatchObject(closed)
  expect(await processesOf(site.root)).toEqual([])
  expect(pool.workers()).toEqual([])
  expect(pool.stats().turns.running).toBe(0)
  const next = await site.pool()
  expect((await say(await next.session('one'), 'fourth')).warmth).toBe('resumed')
})

test('Closing while processes start, for turns, ahead of them and as spares, leaves none', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: { a: { model: MODEL, spares: { min: 2, max: 2 }, unboundSpares: { min: 1, max: 1 } } },
    starts: { concurrent: 4 },
  })
  const left = record(pool, 'worker.closed')
  const started = record(pool, 'worker.started')
  await event(pool, 'worker.started')
  const sessions = await Promise.all(['x', 'y', 'z'].map((key) => pool.session(key, { agent: 'a' })))
  const turns = sessions.map((session) => session.send('first').result)
  const warm = (await pool.session('w', { agent: 'a' })).warm()
  const outcomes = Promise.allSettled([...turns, warm])
  await pool.close()
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: closed })
  expect(await processesOf(site.root)).toEqual([])
  expect(left.map(({ worker }) => worker.id).toSorted()).toEqual(started.map(({ worker }) => worker.id).toSorted())
})

test.runIf(WHOLE)('Closing twice, or while it closes, is one close', async () => {
  const site = await openSite()
  const pool = await site.pool()
  await say(await pool.session('one', { agent: 'a' }), 'first')
  const [first, second] = [pool.close(), pool.close()]
  expect(second).toBe(first)
  await first
  await pool.close()
  await pool.drain()
  expect(await processesOf(site.root)).toEqual([])
})

test.runIf(WHOLE)('A pool that goes out of scope is closed', async () => {
  const site = await openSite()
  let kept: Pool
  {
    await using pool = await createPool({
      dataDir: site.dataDir,
      api: { baseUrl: site.simulator.url, key: 'simulated' },
      agents: { a: { model: MODEL } },
    })
    kept = pool
    await say(await pool.session('one', { agent: 'a' }), 'first')
  }
  expect(kept.workers()).toEqual([])
  expect(await processesOf(site.root)).toEqual([])
})

test('Draining lets what runs end, and takes nothing new', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const [one, two] = await Promise.all(['one', 'two'].map((key) => pool.session(key, { agent: 'a' })))
  if (one === undefined || two === undefined) return expect.unreachable()
  const turn = one.send('first\n@sim delay 500')
  await modelAsked(site, 'first')
  const drained = pool.drain()
  await expect(two.send('refused').result).rejects.toMatchObject(closed)
  expect(await textOf(turn)).toBe('[turn 1] You said: first')
  await drained
  expect(await processesOf(site.root)).toEqual([])
})

test('Closing ends a process that does not heed a thing', async () => {
  const site = await openSite()
  const pool = await site.pool({ starts: { eofGraceMs: 100, sigtermGraceMs: 100 } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const left = event(pool, 'worker.closed')
  process.kill(pool.workers()[0]?.pid ?? 0, 'SIGSTOP')
  await pool.close()
  expect(await left).toMatchObject({ reason: 'closed', termination: { stage: 'sigkill' } })
})

test('Closing with a claim under way leaves no process', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool({
    agents: { a: { model: MODEL, spares: { max: 0 }, unboundSpares: { min: 1, max: 1 } } },
  })
  await event(pool, 'worker.ready')
  const session = await pool.session('one', { agent: 'a', cwd })
  const turn = session.send('first')
  await Promise.resolve()
  await pool.close()
  await expect(turn.result).rejects.toMatchObject(closed)
  expect(await processesOf(site.root)).toEqual([])
})
