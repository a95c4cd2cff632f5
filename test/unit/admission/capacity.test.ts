import { describe, expect, test } from 'vitest'
import { CapacityError } from '../../../src/errors.ts'
import type { Session, Turn } from '../../../src/index.ts'
import type { FakeProcess, TestPoolOptions } from '../../../src/testing/index.ts'
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
    expect(setup.told('worker.closed')).toMatchObject([{ reason: 'evicted', worker: { session: 'b' } }])
    const turn = b?.send('Again')
    expect(await turn?.result).toMatchObject({ result: '[turn 2] You said: Again' })
    expect(turn?.warmth).toBe('resumed')
  })

  test('is made by spares first', async () => {
    const setup = await fakes({
      agents: { assistant: NO_SPARES, kept: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
      limits: { workers: 2 },
    })
    await setup.clock.settle()
    await used(setup, 'a', 'b')
    expect(living(setup)).toEqual(['a', 'b'])
    expect(setup.told('worker.closed')).toMatchObject([{ reason: 'evicted', worker: { purpose: 'spare' } }])
  })

  test('is not made by who runs, and the caller is told', async () => {
    const setup = await fakes({ limits: { workers: 2, turns: 5 } })
    const { session, driver } = setup
    driver.onStart = holding
    const running = [(await session('a')).send('Hello'), (await session('b')).send('Hello')]
    await driver.until(() => driver.processes.filter(({ unanswered }) => unanswered === 1).length === 2)
    const refused = (await session('c')).send('Hello')
    await expect(refused.result).rejects.toMatchObject({ reason: 'turns', retryAfterMs: expect.any(Number) })
    await expect(refused.result).rejects.toThrow('no place for another turn (2 of 2 turns run, 0 wait)')
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

const MIB = 2 ** 20

describe('memory', () => {
  /** 1 GiB less 64 MiB for surprises and 32 MiB for the host's growth, of which host and others use 328 MiB: 600 MiB are left. */
  async function tight(options: TestPoolOptions = {}): Promise<Fakes> {
    const setup = await fakes(options)
    Object.assign(setup.memory, { limitBytes: 1024 * MIB, hostBytes: 100 * MIB, othersBytes: 228 * MIB })
    return setup
  }

  /** Turns that run, in sessions of these keys, on processes that use this much. */
  async function running({ session, driver }: Fakes, memoryBytes: number, ...keys: string[]): Promise<Turn[]> {
    driver.onStart = (process) => {
      holding(process)
      process.memoryBytes = memoryBytes
    }
    const before = driver.processes.length
    const handles = await Promise.all(keys.map(session))
    const turns = handles.map((handle) => handle.send('Hello'))
    await driver.until(
      () => driver.processes.slice(before).filter(({ unanswered }) => unanswered === 1).length >= keys.length,
    )
    return turns
  }

  test('bears as many turns as their agent is taken to need, and sheds the next one at once', async () => {
    const setup = await tight()
    const turns = await running(setup, 200 * MIB, 'a', 'b')
    const refused = (await setup.session('c')).send('Hello')
    await expect(refused.result).rejects.toMatchObject({ reason: 'memory', retryAfterMs: expect.any(Number) })
    await expect(refused.result).rejects.toThrow('no memory for another turn (2 of 2 turns run, 0 wait)')
    for (const process of setup.driver.processes) process.finish()
    expect(await Promise.all(turns.map(outcome))).toEqual(['success', 'success'])
  })

  test('bears more of them when they were seen to need less', async () => {
    const setup = await tight()
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      const [turn] = await running(setup, 130 * MIB, key)
      setup.driver.processes.at(-1)?.finish()
      await turn?.result
      await (await setup.session(key)).hibernate()
    }
    expect(setup.pool.stats().memory.agents).toMatchObject({
      assistant: { runningBytes: 130 * MIB, runningSamples: 5 },
    })
    const turns = await running(setup, 130 * MIB, 'a', 'b', 'c', 'd')
    expect(setup.pool.stats().turns).toMatchObject({ running: 4, limit: 4 })
    expect(await outcome((await setup.session('f')).send('Hello'))).toBe('capacity')
    for (const process of setup.driver.living) process.finish()
    expect(await Promise.all(turns.map(outcome))).toEqual(Array.from({ length: 4 }, () => 'success'))
  })

  test('is charged for workers that start, so that a burst does not overrun it', async () => {
    const setup = await tight({ limits: { turns: 20 } })
    const { session, driver, clock } = setup
    driver.onStart = (process) => {
      process.readyAtOnce = false
      process.memoryBytes = 0
    }
    const handles = await Promise.all(Array.from({ length: 10 }, (_, number) => session(`k${number}`)))
    const outcomes = handles.map((handle) => outcome(handle.send('Hello')))
    await clock.settle()
    expect(driver.living).toHaveLength(2)
    for (const process of driver.living) process.becomeReady()
    expect((await Promise.all(outcomes)).filter((code) => code === 'capacity')).toHaveLength(8)
  })

  test('is made by idle workers, spares first, before a turn is refused', async () => {
    const setup = await tight({
      agents: { assistant: NO_SPARES, kept: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
    })
    const sessions = (): unknown[] => living(setup).filter((key) => key !== undefined)
    await setup.clock.settle()
    await used(setup, 'a', 'b', 'c')
    expect(living(setup)).toEqual([undefined, 'a', 'b', 'c'])
    await used(setup, 'd')
    expect(sessions()).toEqual(['a', 'b', 'c', 'd'])
    expect(setup.told('worker.closed')).toMatchObject([{ reason: 'evicted', worker: { purpose: 'spare' } }])
    await used(setup, 'e')
    expect(sessions()).toEqual(['b', 'c', 'd', 'e'])
    expect(setup.told('turn.refused')).toEqual([])
  })

  test('is waited for where turns may wait, and they go on as soon as it is free', async () => {
    const setup = await tight({ admission: { mode: 'wait', timeout: '10s' } })
    const { session, driver, clock, memory, pool } = setup
    const turns = await running(setup, 200 * MIB, 'a', 'b')
    const waiting = (await session('c')).send('Hello')
    await clock.advance(1_000)
    expect(pool.stats().turns).toMatchObject({ running: 2, waiting: 1 })
    memory.othersBytes = 0
    await clock.advance(1_000)
    expect(pool.stats().turns).toMatchObject({ running: 3, waiting: 0 })
    for (const process of driver.living) process.finish()
    expect(await Promise.all([...turns, waiting].map(outcome))).toEqual(['success', 'success', 'success'])
  })

  test('of a limit of our own counts what is ours', async () => {
    const setup = await fakes({ limits: { memory: '600MiB' } })
    setup.memory.othersBytes = 20_000 * MIB
    const turns = await running(setup, 240 * MIB, 'a')
    expect(setup.pool.stats().memory).toMatchObject({
      boundBy: 'limits.memory',
      limitBytes: 600 * MIB,
      usedBytes: 340 * MIB,
    })
    expect(await outcome((await setup.session('b')).send('Hello'))).toBe('capacity')
    for (const process of setup.driver.living) process.finish()
    expect(await Promise.all(turns.map(outcome))).toEqual(['success'])
  })

  test('bounds nothing where the pool is told so', async () => {
    const setup = await tight({ limits: { memory: 'none' } })
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    const turns = await running(setup, 500 * MIB, ...keys)
    expect(setup.pool.stats().memory).toMatchObject({ limitBytes: Infinity, pressure: 'none' })
    for (const process of setup.driver.living) process.finish()
    expect(await Promise.all(turns.map(outcome))).toEqual(keys.map(() => 'success'))
  })

  test('bears one turn at a time however much that is taken to need', async () => {
    const setup = await tight()
    setup.memory.limitBytes = 400 * MIB
    const turns = await running(setup, 10 * MIB, 'a')
    expect(await outcome((await setup.session('b')).send('Hello'))).toBe('capacity')
    setup.driver.processes[0]?.finish()
    expect(await Promise.all(turns.map(outcome))).toEqual(['success'])
  })

  test('that is being made is given up by who aborts, and its worker with it', async () => {
    const setup = await tight()
    const { session, driver, clock, pool, memory } = setup
    const handles = await Promise.all(['a', 'b', 'c'].map(session))
    for (const handle of handles) await handle.warm()
    expect(pool.stats().workers).toMatchObject({ idle: 3 })
    for (const process of driver.processes) process.leavesAtOnce = false
    // Three idle workers fit; a turn on one of them needs one of the others to go.
    memory.othersBytes += 200 * MIB
    await clock.advance(100)
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

  describe('pressure', () => {
    test('hibernates idle workers one by one, spares with the first, and tells', async () => {
      const setup = await tight({
        agents: { assistant: NO_SPARES, kept: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
      })
      const { clock, memory, pool } = setup
      await used(setup, 'a', 'b')
      memory.othersBytes += 360 * MIB
      await clock.advance(500)
      expect(setup.told('memory.pressure')).toMatchObject([
        { level: 'high', from: 'none', memory: { pressure: 'high' } },
      ])
      expect(setup.told('worker.closed').map(({ reason, worker }) => [reason, worker.session])).toEqual([
        ['surplus', undefined],
        ['pressure', 'a'],
      ])
      expect(living(setup)).toEqual(['b'])
      await clock.advance(5_000)
      expect(setup.told('memory.pressure').at(-1)).toMatchObject({ level: 'none', from: 'high' })
      expect(pool.stats().memory.pressure).toBe('none')
    })

    test('that is critical ends the turn that grew beyond its need, by name, and its session goes on', async () => {
      const setup = await tight()
      const { driver, clock, session, memory } = setup
      memory.othersBytes = 0
      const [quiet, greedy] = await running(setup, 150 * MIB, 'a', 'b')
      const processOf = (key: string): FakeProcess | undefined => {
        const pid = setup.pool.workers().find((worker) => worker.session === key)?.pid
        return driver.living.find((process) => process.pid === pid)
      }
      const process = processOf('b')
      if (process !== undefined) process.memoryBytes = 760 * MIB
      await clock.advance(1_000)
      await expect(greedy?.result).rejects.toMatchObject({
        name: 'WorkerMemoryError',
        code: 'worker_memory',
        limit: 'host',
        usedBytes: 760 * MIB,
      })
      expect(setup.told('worker.closed').map(({ reason, worker }) => [reason, worker.session])).toEqual([
        ['outgrown', 'b'],
      ])
      processOf('a')?.finish()
      expect(quiet === undefined ? '' : await outcome(quiet)).toBe('success')
      driver.onStart = undefined
      await clock.advance(3_000)
      expect(await outcome((await session('b')).send('Again'))).toBe('success')
    })
  })

  describe('limits.workerMemory', () => {
    test('ends a turn that needs more, with the use and the limit in its error; the session resumes', async () => {
      const setup = await fakes({ limits: { workerMemory: '500MiB' } })
      const [turn] = await running(setup, 600 * MIB, 'a')
      await setup.clock.advance(1_000)
      await expect(turn?.result).rejects.toMatchObject({
        name: 'WorkerMemoryError',
        limit: 'worker',
        usedBytes: 600 * MIB,
        limitBytes: 500 * MIB,
      })
      await expect(turn?.result).rejects.toThrow(/used 600 MiB, more than the 500 MiB of limits.workerMemory/)
      setup.driver.onStart = undefined
      expect(await outcome((await setup.session('a')).send('Again'))).toBe('success')
      expect(setup.pool.stats()).toMatchObject({ turns: { running: 0 }, workers: { busy: 0 } })
    })

    test('of an agent counts before that of the pool', async () => {
      const setup = await fakes({
        agents: { assistant: { ...NO_SPARES, limits: { workerMemory: '1GiB' } } },
        limits: { workerMemory: '500MiB' },
      })
      const [turn] = await running(setup, 600 * MIB, 'a')
      await setup.clock.advance(2_000)
      setup.driver.processes[0]?.finish()
      expect(turn === undefined ? '' : await outcome(turn)).toBe('success')
    })

    test('ends a turn whose process has not become ready, too', async () => {
      const setup = await fakes({ limits: { workerMemory: '500MiB' } })
      setup.driver.onStart = (process) => {
        process.readyAtOnce = false
        process.memoryBytes = 600 * MIB
      }
      const turn = (await setup.session('a')).send('Hello')
      await setup.driver.process(0)
      await setup.clock.advance(1_000)
      expect(await outcome(turn)).toBe('worker_memory')
    })

    test('lets an idle worker hibernate', async () => {
      const setup = await fakes({ limits: { workerMemory: '500MiB' } })
      await used(setup, 'a')
      const [process] = setup.driver.processes
      if (process !== undefined) process.memoryBytes = 600 * MIB
      await setup.clock.advance(1_000)
      expect(setup.reasons()).toEqual(['memory'])
    })
  })
})
