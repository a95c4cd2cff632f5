import { describe, expect, test } from 'vitest'
import { CapacityError } from '../../../src/errors.ts'
import type { Session } from '../../../src/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const holding = (process: FakeProcess): void => {
  process.answersAtOnce = false
}

/** Sessions that were used in this order, a second apart. */
async function used({ session, clock }: Fakes, ...keys: string[]): Promise<Session[]> {
  const handles: Session[] = []
  for (const key of keys) {
    const handle = await session(key)
    await handle.send('Hello').result
    await clock.advance(1_000)
    handles.push(handle)
  }
  return handles
}

const living = ({ pool }: Fakes): (string | undefined)[] => pool.workers().map(({ session }) => session)

describe('turns', () => {
  test('beyond the limit are refused at once, with when to come again, and counted', async () => {
    const setup = await fakes({ limits: { turns: 1 } })
    const { pool, session, driver, told } = setup
    driver.onStart = holding
    const running = (await session('a')).send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const refused = (await session('b')).send('Hello')
    await expect(refused.result).rejects.toThrow(CapacityError)
    await expect(refused.result).rejects.toMatchObject({ reason: 'turns', retryAfterMs: expect.any(Number) })
    expect(driver.processes).toHaveLength(1)
    expect(told('turn.refused')).toMatchObject([{ session: { key: 'b' }, error: { reason: 'turns' } }])
    expect(pool.stats().totals).toMatchObject({ refusedByReason: { turns: 1 }, turnsByOutcome: { capacity: 1 } })
    driver.processes[0]?.finish()
    await running.result
    expect(await outcome((await session('b')).send('Hello', { signal: AbortSignal.abort() }))).toBe('turn_interrupted')
    expect(pool.stats().turns).toMatchObject({ running: 0, waiting: 0, limit: 1 })
  })

  test('wait where they may, and go on when a place is free', async () => {
    const setup = await fakes({ limits: { turns: 1 }, admission: { mode: 'wait', timeout: '2s' } })
    const { pool, session, driver, clock } = setup
    driver.onStart = holding
    const running = (await session('a')).send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const waiting = (await session('b')).send('Hello')
    const late = (await session('c')).send('Hello')
    const given = (await session('d')).send('Hello')
    await clock.settle()
    expect(pool.stats().turns).toEqual({ running: 1, waiting: 3, limit: 1 })
    await given.interrupt()
    expect(pool.stats().turns.waiting).toBe(2)
    driver.processes[0]?.finish()
    await running.result
    await driver.until(() => driver.processes[1]?.unanswered === 1)
    await clock.advance(2_000)
    expect([await outcome(late), await outcome(given)]).toEqual(['capacity', 'turn_interrupted'])
    driver.processes[1]?.finish()
    expect(await outcome(waiting)).toBe('success')
    expect(driver.processes).toHaveLength(2)
  })

  test('of a suspended pool are refused until it resumes, and those that run go on', async () => {
    const { pool, session, driver } = await fakes()
    driver.onStart = holding
    const running = (await session('a')).send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    pool.suspend()
    expect(await outcome((await session('b')).send('Hello'))).toBe('capacity')
    await expect((await session('b')).warm()).rejects.toMatchObject({ reason: 'suspended' })
    driver.processes[0]?.finish()
    expect(await outcome(running)).toBe('success')
    pool.resume()
    driver.onStart = undefined
    expect(await outcome((await session('b')).send('Hello'))).toBe('success')
  })

  test('that were refused for want of room do not make the time to come again shorter', async () => {
    const setup = await fakes({ limits: { workers: 1, turns: 4 } })
    const { session, driver, clock } = setup
    driver.onStart = holding
    const running = (await session('a')).send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const times: number[] = []
    for (let number = 0; number < 20; number += 1) {
      await (await session('b')).send('Hello').result.catch((error: CapacityError) => times.push(error.retryAfterMs))
    }
    await clock.settle()
    expect(new Set(times).size).toBe(1)
    driver.processes[0]?.finish()
    await running.result
  })
})

describe('room for one more process', () => {
  test('is made by the session that was unused for longest, which goes on afterwards', async () => {
    const setup = await fakes({ limits: { workers: 3 } })
    const [a, b] = await used(setup, 'a', 'b', 'c')
    await a?.send('Again').result
    await used(setup, 'd')
    expect(new Set(living(setup))).toEqual(new Set(['a', 'c', 'd']))
    expect(setup.told('worker.left')).toMatchObject([{ reason: 'room', worker: { session: 'b' } }])
    const turn = b?.send('Again')
    expect(await turn?.result).toMatchObject({ result: '[turn 2] You said: Again' })
    expect(turn?.warmth).toBe('resumed')
  })

  test('is made by spares first', async () => {
    const setup = await fakes({
      agents: { assistant: NO_SPARES, kept: { spares: { min: 1 }, claimableSpares: { max: 0 } } },
      limits: { workers: 2 },
    })
    await setup.clock.settle()
    await used(setup, 'a', 'b')
    expect(living(setup)).toEqual(['a', 'b'])
    expect(setup.told('worker.left')).toMatchObject([{ reason: 'room', worker: { purpose: 'spare' } }])
  })

  test('is not made by who runs, and the caller is told', async () => {
    const setup = await fakes({ limits: { workers: 2, turns: 5 } })
    const { session, driver } = setup
    driver.onStart = holding
    const running = [(await session('a')).send('Hello'), (await session('b')).send('Hello')]
    await driver.until(() => driver.processes.filter(({ unanswered }) => unanswered === 1).length === 2)
    const refused = (await session('c')).send('Hello')
    await expect(refused.result).rejects.toMatchObject({ reason: 'memory', retryAfterMs: expect.any(Number) })
    await expect(refused.result).rejects.toThrow('no room for another process, and none that could leave')
    for (const process of driver.processes) process.finish()
    expect(await Promise.all(running.map(outcome))).toEqual(['success', 'success'])
    expect(setup.reasons()).toEqual([])
  })

  test('is not made by who starts for somebody', async () => {
    const setup = await fakes({ limits: { workers: 1, turns: 5 } })
    const { session, driver } = setup
    driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const starting = (await session('a')).send('Hello')
    const process = await driver.process(0)
    expect(await outcome((await session('b')).send('Hello'))).toBe('capacity')
    process.becomeReady()
    expect(await outcome(starting)).toBe('success')
  })

  test('is not made by who has background work or a question open', async () => {
    const setup = await fakes({ limits: { workers: 1 } })
    await used(setup, 'a')
    setup.driver.processes[0]?.say({
      type: 'system',
      subtype: 'background_tasks_changed',
      tasks: [{ task_id: 't-1', task_type: 'shell', description: 'build' }],
    } as never)
    await setup.clock.settle()
    expect(setup.pool.workers()).toMatchObject([{ pinnedBy: { tasks: 1, permissionRequests: 0 } }])
    expect(await outcome((await setup.session('b')).send('Hello'))).toBe('capacity')
    setup.driver.processes[0]?.say({ type: 'system', subtype: 'background_tasks_changed', tasks: [] } as never)
    await setup.clock.settle()
    expect(await outcome((await setup.session('b')).send('Hello'))).toBe('success')
  })

  test('is waited for while somebody leaves already', async () => {
    const setup = await fakes({ limits: { workers: 1 } })
    const [a] = await used(setup, 'a')
    const [process] = setup.driver.processes
    if (process !== undefined) process.leavesAtOnce = false
    const hibernating = a?.hibernate()
    await setup.driver.until(() => process?.graces !== undefined)
    const waiting = (await setup.session('b')).send('Hello')
    await setup.clock.settle()
    expect(setup.driver.processes).toHaveLength(1)
    process?.exit()
    await hibernating
    expect(await outcome(waiting)).toBe('success')
  })

  test('is found by as many as there is room for, and by no more', async () => {
    const setup = await fakes({ limits: { workers: 5, turns: 20 } })
    const { session, driver, clock } = setup
    await used(setup, 'a', 'b', 'c')
    driver.onStart = holding
    const handles = await Promise.all(Array.from({ length: 12 }, (_, number) => session(`k${number}`)))
    const turns = handles.map((handle) => handle.send('Hello'))
    await clock.settle()
    expect(driver.living).toHaveLength(5)
    for (const process of driver.living) if (process.unanswered > 0) process.finish()
    const outcomes = await Promise.all(turns.map(outcome))
    expect(outcomes.filter((code) => code === 'success')).toHaveLength(5)
    expect(outcomes.filter((code) => code === 'capacity')).toHaveLength(7)
  })
})

describe('memory', () => {
  test('lets idle workers go when a turn begins and needs more', async () => {
    // 1 GiB less the host's own 200 MiB: one running (500 MiB) beside one idle (200 MiB), or four idle ones.
    const setup = await fakes({ limits: { memory: '1GiB', turns: 4 } })
    const [a] = await used(setup, 'a', 'b', 'c')
    expect(living(setup)).toHaveLength(2)
    await a?.send('Again').result
    expect(living(setup)).toHaveLength(2)
  })

  test('that is being made is given up by who aborts, and its worker with it', async () => {
    const setup = await fakes({ limits: { memory: '1GiB', turns: 4 } })
    const { session, driver, clock, pool } = setup
    // Four idle workers fit; a turn on one of them needs two of the others to go.
    const handles = await Promise.all(['a', 'b', 'c'].map(session))
    for (const handle of handles) await handle.warm()
    expect(pool.stats().workers).toMatchObject({ idle: 3 })
    for (const process of driver.processes) process.leavesAtOnce = false
    const abort = new AbortController()
    const turn = handles[2]?.send('Hello', { signal: abort.signal })
    await driver.until(() => driver.processes.some(({ graces }) => graces !== undefined))
    expect(pool.stats().workers).toMatchObject({ busy: 1, closing: 1 })
    abort.abort()
    expect(turn === undefined ? '' : await outcome(turn)).toBe('turn_interrupted')
    for (const process of driver.processes) {
      process.leavesAtOnce = true
      if (process.graces !== undefined) process.exit()
    }
    await clock.settle()
    expect(pool.stats()).toMatchObject({ turns: { running: 0 }, workers: { busy: 0, closing: 0 } })
    expect(await handles[2]?.info()).toMatchObject({ state: 'idle' })
  })
})
