import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const MINUTE = 60_000

const keeping = (min: number, max = min): { assistant: object } => ({
  assistant: { spares: { min, max }, unboundSpares: { max: 0 } },
})

const spares = ({ pool }: Fakes): number => pool.stats().workers.spares

/** Fails the test for a rejection that nobody handles: it would end the host. */
function noUnhandledRejections(): void {
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', listener)
  onTestFinished(() => {
    process.off('unhandledRejection', listener)
    expect(unhandled.slice(0, 1)).toEqual([])
  })
}

describe('the minimum', () => {
  test('is started with the pool and kept: taken, died or left', async () => {
    const setup = await fakes({ agents: keeping(2) })
    await setup.clock.settle()
    expect(spares(setup)).toBe(2)
    await (await setup.session('k')).send('Hello').result
    await setup.clock.advance(1_000)
    expect(spares(setup)).toBe(2)
    setup.driver.living.find(({ prompts }) => prompts.length === 0)?.exit({ signal: 'SIGKILL' })
    await setup.clock.advance(1_000)
    expect(spares(setup)).toBe(2)
    expect(setup.driver.living).toHaveLength(3)
  })

  test('is filled up again a moment after a spare was taken, so that the first turn has the cores', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await setup.clock.advance(1_000)
    const handle = await setup.session('a')
    await handle.send('Hello').result
    // A departure is an occasion to fill up, and comes too early.
    await handle.hibernate()
    await setup.clock.advance(250)
    expect(setup.driver.processes).toHaveLength(1)
    await setup.clock.advance(550)
    expect(spares(setup)).toBe(1)
  })

  test('is filled up at once in a burst, and who finds no spare does not wait for one', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await setup.clock.advance(1_000)
    const warmths: unknown[] = []
    for (let number = 0; number < 40; number += 1) {
      const turn = (await setup.session(`k${number}`)).send('Hello')
      await turn.result
      warmths.push(turn.warmth)
      await setup.clock.advance(100)
    }
    expect(warmths.filter((warmth) => warmth === 'spare').length).toBeGreaterThanOrEqual(8)
    expect(warmths.filter((warmth) => warmth === 'cold').length).toBeGreaterThanOrEqual(30)
  })

  test('of a tenant is kept once it is active, and apart from others', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await (await setup.pool.session('k', { agent: 'assistant', tenant: 'acme' })).send('Hello').result
    await setup.clock.advance(1_000)
    expect(
      setup.pool
        .workers()
        .filter(({ session }) => session === undefined)
        .map(({ tenant }) => tenant),
    ).toEqual(['default', 'acme'])
  })

  test('is not kept at the cost of who waits', async () => {
    const setup = await fakes({
      agents: { assistant: NO_SPARES, kept: keeping(3).assistant },
      starts: { concurrent: 1 },
    })
    setup.driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const first = await setup.driver.process(0)
    const turn = (await setup.session('k')).send('Hello')
    await setup.clock.settle()
    expect(setup.pool.stats().starts.waiting).toBe(3)
    first.becomeReady()
    const second = await setup.driver.process(1)
    await setup.clock.settle()
    expect(setup.pool.workers()).toMatchObject([{ purpose: 'spare' }, { purpose: 'turn', session: 'k' }])
    setup.driver.onStart = undefined
    second.becomeReady()
    expect(await outcome(turn)).toBe('success')
  })

  test('is not kept where there is no room, and nobody has to leave for it', async () => {
    const setup = await fakes({ agents: keeping(2), limits: { workers: 2 } })
    await setup.clock.settle()
    await (await setup.session('a')).send('Hello').result
    await (await setup.session('b')).send('Hello').result
    await setup.clock.advance(1_000)
    const workspaces = dirname((await setup.driver.process(0)).spec.cwd)
    const before = (await stat(workspaces)).mtimeMs
    await setup.clock.advance(5_000)
    expect(setup.pool.workers().map(({ session }) => session)).toEqual(['a', 'b'])
    // Nothing is made for what cannot be started.
    expect((await stat(workspaces)).mtimeMs).toBe(before)
    expect(setup.reasons().filter((reason) => reason !== 'evicted')).toEqual([])
  })
})

describe('demand', () => {
  test('starts a spare after the first arrival, and lets it go when nobody comes any more', async () => {
    const setup = await fakes({ agents: { assistant: { unboundSpares: { max: 0 } } } })
    expect(spares(setup)).toBe(0)
    await (await setup.session('k')).send('Hello').result
    await setup.clock.advance(1_000)
    expect(spares(setup)).toBe(1)
    await setup.clock.advance(20 * MINUTE)
    expect([spares(setup), setup.reasons()]).toEqual([0, ['surplus']])
  })

  test('in bursts asks for more, to the maximum', async () => {
    const setup = await fakes({ agents: { assistant: { spares: { max: 2 }, unboundSpares: { max: 0 } } } })
    setup.driver.onStart = (process) => {
      process.readyAtOnce = false
      setup.clock.after(1_000, () => process.becomeReady())
    }
    const turns: Promise<string>[] = []
    let most = 0
    for (let number = 0; number < 60; number += 1) {
      turns.push(outcome((await setup.session(`k${number}`)).send('Hello')))
      await setup.clock.advance(250)
      const waiting = setup.pool.workers().filter(({ session }) => session === undefined)
      most = Math.max(most, waiting.length)
    }
    await setup.clock.advance(5_000)
    expect(new Set(await Promise.all(turns))).toEqual(new Set(['success']))
    expect([most, spares(setup)]).toEqual([2, 2])
  })

  test('for places of the caller’s choice starts unbound ones', async () => {
    const setup = await fakes({ agents: { assistant: { spares: { max: 0 } } } })
    await (await setup.pool.session('k', { agent: 'assistant', cwd: import.meta.dirname })).send('Hello').result
    await setup.clock.advance(1_000)
    expect(setup.driver.processes.map(({ spec }) => spec.conversation.kind)).toEqual(['new', 'unbound'])
    const turn = (await setup.pool.session('other', { agent: 'assistant', cwd: import.meta.dirname })).send('Hello')
    await turn.result
    expect(turn.warmth).toBe('spare')
  })
})

describe('a spare that is too old', () => {
  test('leaves when another is ready, and not before', async () => {
    const setup = await fakes({ agents: keeping(1), residency: { maxAge: '10m' } })
    const { clock, driver } = setup
    await clock.settle()
    let slow: FakeProcess | undefined
    driver.onStart = (process) => {
      process.readyAtOnce = false
      slow = process
    }
    while (slow === undefined) await clock.advance(1_000)
    await clock.advance(30_000)
    expect([driver.processes.length, driver.living.length, spares(setup)]).toEqual([2, 2, 1])
    slow.becomeReady()
    driver.onStart = undefined
    await clock.advance(1_000)
    expect([driver.living.length, spares(setup), setup.reasons()]).toEqual([1, 1, ['age']])
  })

  test('leaves for its age, also when what is too many leaves first', async () => {
    const setup = await fakes({ agents: { ...keeping(1), other: NO_SPARES }, residency: { maxAge: '10m' } })
    const { clock, driver, pool } = setup
    await clock.settle()
    driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    while (driver.processes.length < 2) await clock.advance(1_000)
    driver.onStart = undefined
    driver.processes[1]?.becomeReady()
    await clock.settle()
    const other = await pool.session('k', { agent: 'other' })
    await other.send('Hello').result
    await other.hibernate()
    await clock.settle()
    expect(setup.reasons()).toEqual(['hibernate', 'age'])
  })

  test('in a suspended pool stays, and harms nobody', async () => {
    noUnhandledRejections()
    const setup = await fakes({ agents: keeping(1), residency: { maxAge: '10m' } })
    await setup.clock.settle()
    setup.pool.suspend()
    await setup.clock.advance(15 * MINUTE)
    expect([setup.driver.processes.length, spares(setup)]).toEqual([1, 1])
    setup.pool.resume()
    await setup.clock.advance(2_000)
    expect([setup.driver.processes.length, spares(setup), setup.reasons()]).toEqual([2, 1, ['age']])
  })
})

describe('spares that cannot be started', () => {
  test('are tried again and again, ever more slowly, and each failure is told', async () => {
    const setup = await fakes({ agents: keeping(5) })
    setup.driver.onStart = (process) => process.failToStart()
    await setup.clock.advance(MINUTE)
    const first = setup.driver.processes.length
    expect(first).toBeLessThanOrEqual(15)
    await setup.clock.advance(10 * MINUTE)
    // One a minute by then.
    expect(setup.driver.processes.length - first).toBeLessThanOrEqual(12)
    expect(setup.told('warning').length).toBeLessThanOrEqual(2 * setup.driver.processes.length)
    setup.driver.onStart = undefined
    await setup.clock.advance(2 * MINUTE)
    expect(spares(setup)).toBe(5)
  })

  test('leave no workspaces behind', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await setup.clock.settle()
    const [spare] = setup.driver.processes
    const workspaces = dirname(spare?.spec.cwd ?? '')
    expect(await readdir(workspaces)).toHaveLength(1)
    setup.driver.onStart = (process) => process.failToStart()
    spare?.exit({ exitCode: 1 })
    await setup.clock.advance(MINUTE)
    expect(await readdir(workspaces)).toEqual([])
  })
})

describe('a workspace', () => {
  test('of a spare that nobody used goes with it', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await setup.clock.settle()
    const { cwd } = (await setup.driver.process(0)).spec
    expect(existsSync(cwd)).toBe(true)
    await setup.pool.close()
    await setup.clock.settle()
    expect(existsSync(cwd)).toBe(false)
  })

  test('of a spare that became a session stays with that', async () => {
    const setup = await fakes({ agents: keeping(1) })
    await setup.clock.settle()
    const { cwd } = (await setup.driver.process(0)).spec
    const handle = await setup.session('k')
    await handle.send('Hello').result
    await handle.hibernate()
    expect(existsSync(cwd)).toBe(true)
    await handle.delete()
    expect(existsSync(cwd)).toBe(false)
  })

  test('of a spare that was still starting when the pool closed is removed', async () => {
    const setup = await fakes({ agents: keeping(2), starts: { concurrent: 1 } })
    setup.driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const { cwd } = (await setup.driver.process(0)).spec
    await setup.pool.close()
    await setup.clock.settle()
    expect(await readdir(dirname(cwd))).toEqual([])
    expect(setup.driver.processes).toHaveLength(1)
  })

  test('of a spare that was to start while the pool drains is not left behind', async () => {
    const setup = await fakes({ agents: { assistant: NO_SPARES, kept: keeping(1).assistant } })
    const spare = await setup.driver.process(0)
    setup.driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const turn = (await setup.session('k')).send('Hello')
    const busy = await setup.driver.process(1)
    await setup.driver.until(() => busy.unanswered === 1)
    // The workspace of its replacement is being made when the pool begins to drain.
    const drained = new Promise<void>((resolve) => {
      setup.pool.on('worker.closed', ({ reason }) => {
        if (reason === 'exited') setImmediate(() => resolve(setup.pool.drain()))
      })
    })
    spare.exit({ exitCode: 1 })
    await setup.clock.settle()
    busy.finish()
    await turn.result
    await drained
    await setup.clock.settle()
    expect(await readdir(dirname(spare.spec.cwd))).toEqual([basename(busy.spec.cwd)])
    expect([setup.driver.processes.length, setup.told('warning')]).toEqual([2, []])
  })
})

test('many tenants that came once are forgotten', async () => {
  const setup = await fakes({ agents: { assistant: { unboundSpares: { max: 0 } } } })
  for (let number = 0; number < 20; number += 1) {
    const handle = await setup.pool.session('k', { agent: 'assistant', tenant: `t${number}` })
    await handle.send('Hello').result
    await handle.delete()
  }
  await setup.clock.advance(30 * MINUTE)
  expect(setup.driver.living).toEqual([])
  expect(setup.pool.stats()).toMatchObject({ workers: { total: 0 }, activeSessions: 0 })
})
