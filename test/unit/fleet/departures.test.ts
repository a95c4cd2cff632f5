import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { CloseReason, ExitCause, ExitFacts } from '../../../src/index.ts'
import { NOTHING_USED } from '../../../src/usage/usage.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const MINUTE = 60_000
const PIN = { task_id: 't-1', task_type: 'shell', description: 'build' }

const backgroundWork = (process: FakeProcess | undefined, tasks: object[]): void =>
  process?.say({ type: 'system', subtype: 'background_tasks_changed', tasks } as never)

const idle = async (setup: Fakes): Promise<FakeProcess> => {
  await (await setup.session('k')).send('Hello').result
  await setup.clock.settle()
  return setup.driver.process(0)
}

const idleFor = async (setup: Fakes, ms: number): Promise<void> => {
  await idle(setup)
  await setup.clock.advance(ms)
}

const countsOf = (reasons: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const reason of reasons) counts[reason] = (counts[reason] ?? 0) + 1
  return counts
}

const withoutZeros = (counts: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))

describe('every departure has its reason, in the event and in the count', () => {
  const cases: [CloseReason, Parameters<typeof fakes>[0], (setup: Fakes) => Promise<unknown>][] = [
    ['idle', {}, (setup) => idleFor(setup, 31 * MINUTE)],
    ['age', { residency: { maxAge: '5m', idleTtl: 'none' } }, (setup) => idleFor(setup, 6 * MINUTE)],
    ['turns', { residency: { maxTurnsPerWorker: 1 } }, (setup) => idleFor(setup, 1_000)],
    [
      'evicted',
      { limits: { workers: 1 } },
      async (setup) => {
        await idle(setup)
        await (await setup.session('b')).send('Hello').result
      },
    ],
    [
      'hibernate',
      {},
      async (setup) => {
        await idle(setup)
        await (await setup.session('k')).hibernate()
      },
    ],
    [
      'deleted',
      {},
      async (setup) => {
        await idle(setup)
        await (await setup.session('k')).delete()
      },
    ],
    [
      'operator',
      {},
      async (setup) => {
        await idle(setup)
        await setup.pool.closeWorker(setup.pool.workers()[0]?.id ?? '')
      },
    ],
    [
      'closed',
      {},
      async (setup) => {
        await idle(setup)
        await setup.pool.close()
      },
    ],
    [
      'exited',
      {},
      async (setup) => {
        const process = await idle(setup)
        process.exit()
        await setup.clock.settle()
      },
    ],
    [
      'output',
      {},
      async (setup) => {
        const process = await idle(setup)
        process.exit({ cause: 'ended', violation: 'it closed its stdout' })
        await setup.clock.settle()
      },
    ],
    [
      'start_failed',
      {},
      async (setup) => {
        setup.driver.onStart = (process) => process.failToStart()
        await outcome((await setup.session('k')).send('Hello'))
      },
    ],
    [
      'limit',
      { limits: { turnTimeout: '1m' } },
      async (setup) => {
        setup.driver.onStart = (process) => {
          process.answersAtOnce = false
          process.heedsInterrupts = false
          process.heldBack = true
        }
        const turn = (await setup.session('k')).send('Hello')
        await setup.driver.until(() => setup.driver.processes[0]?.unanswered === 1)
        await setup.clock.advance(2 * MINUTE)
        expect(await outcome(turn)).toBe('turn_timeout')
      },
    ],
    [
      'unresponsive',
      {},
      async (setup) => {
        const process = await idle(setup)
        process.answersProbes = false
        await setup.clock.advance(MINUTE)
      },
    ],
    [
      'surplus',
      { agents: { assistant: { spares: { max: 1 }, unboundSpares: { max: 0 } } } },
      async (setup) => {
        await idle(setup)
        // One spare waits for as long as somebody may come, and not for ever.
        await setup.clock.advance(20 * MINUTE)
      },
    ],
  ]

  test.each(cases)('%s', async (reason, options, act) => {
    const setup = await fakes(options)
    await act(setup)
    expect(setup.reasons()).toContain(reason)
    const { totals } = setup.pool.stats()
    expect(totals.closedByReason).toEqual(countsOf(setup.reasons()))
    const ends = setup.told('worker.closed')
    expect(withoutZeros(totals.exitsByCause)).toEqual(countsOf(ends.map(({ exit }) => exit.cause)))
    expect(withoutZeros(totals.terminationsByStage)).toEqual(countsOf(ends.map(({ termination }) => termination.stage)))
    for (const { worker, termination, exit } of setup.told('worker.closed')) {
      expect(worker.state).toBe('closed')
      expect([typeof termination.stage, exit]).toEqual(['string', expect.objectContaining({ stderr: '' })])
    }
  })
})

describe('what ended a process', () => {
  const causes: [ExitCause, Partial<ExitFacts> | undefined][] = [
    ['normal', { exitCode: 0 }],
    ['crash', { exitCode: 3 }],
    ['signal', { signal: 'SIGSEGV' }],
    ['out_of_memory', { cause: 'out_of_memory', signal: 'SIGKILL' }],
    ['ended', undefined],
  ]

  test.each(causes)('is named in the event and the count: %s', async (cause, exit) => {
    const setup = await fakes()
    const process = await idle(setup)
    if (exit === undefined) await (await setup.session('k')).hibernate()
    else process.exit(exit)
    await setup.clock.settle()
    expect(setup.told('worker.closed')).toMatchObject([{ exit: { cause } }])
    const { exitsByCause, terminationsByStage, processesEnded, processesLeft } = setup.pool.stats().totals
    expect(withoutZeros(exitsByCause)).toEqual({ [cause]: 1 })
    expect(withoutZeros(terminationsByStage)).toEqual({ [cause === 'ended' ? 'eof' : 'gone']: 1 })
    expect({ processesEnded, processesLeft }).toEqual({ processesEnded: cause === 'ended' ? 1 : 0, processesLeft: 0 })
  })
})

test('A turn whose process the kernel kills for the limit of its own cgroup ends with WorkerMemoryError', async () => {
  const setup = await fakes()
  setup.driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await setup.session('k')).send('go')
  await setup.driver.until(() => setup.driver.processes[0]?.unanswered === 1)
  setup.driver.processes[0]?.exit({ cause: 'out_of_memory', signal: 'SIGKILL', memoryLimitBytes: 2 ** 30 })
  await expect(turn.result).rejects.toMatchObject({
    code: 'worker_memory',
    limit: 'worker',
    limitBytes: 2 ** 30,
    message: expect.stringContaining('reached the 1 GiB of isolation.memory'),
  })
})

describe('an idle worker', () => {
  test('whose input is closed leaves, as a session’s own and as a spare', async () => {
    const setup = await fakes({
      agents: { assistant: NO_SPARES, kept: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
    })
    const process = await idle(setup)
    for (const living of setup.driver.living) living.closeInput()
    await setup.clock.advance(1_000)
    expect([process.gone, setup.reasons()]).toEqual([true, ['exited', 'exited']])
    expect(setup.pool.stats().workers).toMatchObject({ total: 1, spares: 1 })
  })

  test('leaves within a second of its time', async () => {
    const setup = await fakes({ residency: { idleTtl: '30m' } })
    await idle(setup)
    await setup.clock.advance(30 * MINUTE - 1)
    expect(setup.driver.living).toHaveLength(1)
    await setup.clock.advance(1_000)
    expect(setup.driver.living).toEqual([])
  })

  test('is not kept by being looked at: statistics, lists and health checks are no use', async () => {
    const setup = await fakes({ residency: { idleTtl: '5m' } })
    const process = await idle(setup)
    const handle = await setup.session('k')
    for (let minute = 0; minute < 6; minute += 1) {
      await setup.clock.advance(MINUTE)
      setup.pool.stats()
      setup.pool.workers()
      await setup.pool.sessions()
      await handle.info()
    }
    expect(process.probes).toBeGreaterThan(3)
    expect(setup.reasons()).toEqual(['idle'])
  })

  test('is kept by background work, for as long as there is any', async () => {
    const setup = await fakes({ residency: { idleTtl: '5m' } })
    const process = await idle(setup)
    backgroundWork(process, [PIN])
    await setup.clock.advance(60 * MINUTE)
    expect(setup.pool.workers()).toMatchObject([{ state: 'idle', pinnedBy: { tasks: 1 } }])
    backgroundWork(process, [])
    await setup.clock.advance(1_000)
    expect(setup.reasons()).toEqual(['idle'])
  })

  test('is kept by background work, but not for ever', async () => {
    const setup = await fakes({ residency: { idleTtl: '5m', pinLimit: '1h' } })
    backgroundWork(await idle(setup), [PIN])
    await setup.clock.advance(61 * MINUTE)
    expect(setup.reasons()).toEqual(['idle'])
  })

  test('is not kept by work that is always there', async () => {
    const setup = await fakes({ residency: { idleTtl: '5m' } })
    backgroundWork(await idle(setup), [{ ...PIN, ambient: true }])
    await setup.clock.advance(6 * MINUTE)
    expect(setup.reasons()).toEqual(['idle'])
  })

  test('whose turn is longer than the TTL is not swept in the middle', async () => {
    const setup = await fakes({ residency: { idleTtl: '1m' }, limits: { inactivityTimeout: 'none' } })
    setup.driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const turn = (await setup.session('k')).send('Hello')
    await setup.driver.until(() => setup.driver.processes[0]?.unanswered === 1)
    await setup.clock.advance(10 * MINUTE)
    setup.driver.processes[0]?.finish()
    expect(await outcome(turn)).toBe('success')
    await setup.clock.advance(59_000)
    expect(setup.driver.living).toHaveLength(1)
    await setup.clock.advance(2_000)
    expect(setup.reasons()).toEqual(['idle'])
  })

  test('that has had its turns leaves after the last of them, and the session goes on', async () => {
    const setup = await fakes({ residency: { maxTurnsPerWorker: 2 } })
    const handle = await setup.session('k')
    const warmths: unknown[] = []
    for (let number = 0; number < 5; number += 1) {
      const turn = handle.send('Hello')
      await turn.result
      warmths.push(turn.warmth)
      await setup.clock.advance(1_000)
    }
    expect(warmths).toEqual(['cold', 'live', 'resumed', 'live', 'resumed'])
  })
})

test('a workspace stays when its worker leaves, and its conversation with it', async () => {
  const setup = await fakes()
  const { spec } = await idle(setup)
  await setup.clock.advance(31 * MINUTE)
  expect([setup.driver.living.length, existsSync(spec.cwd)]).toEqual([0, true])
})

const NO_TOKENS = { input: 0, output: 0, cache_read: 0, cache_write: 0 }

describe('what a pool tells', () => {
  test('is told to everybody, although one listener throws', async () => {
    const setup = await fakes()
    const heard: string[] = []
    const broken = (): never => {
      throw new Error('broken listener')
    }
    for (const name of [
      'worker.started',
      'worker.ready',
      'worker.closed',
      'turn.started',
      'turn.ended',
      'session.created',
      'session.deleted',
      'warning',
    ] as const) {
      setup.pool.on(name, broken)
      setup.pool.on(name, () => void heard.push(name))
    }
    const handle = await setup.session('k')
    expect(await outcome(handle.send('Hello'))).toBe('success')
    await handle.delete()
    expect(new Set(heard)).toEqual(
      new Set([
        'session.created',
        'worker.started',
        'worker.ready',
        'turn.started',
        'turn.ended',
        'worker.closed',
        'session.deleted',
        'warning',
      ]),
    )
    expect(setup.told('warning').map(({ message }) => message)).toContain('a listener of "turn.ended" threw')
    expect(setup.pool.stats()).toMatchObject({ turns: { running: 0 }, workers: { total: 0 }, activeSessions: 0 })
  })

  test('is not told any more to who has stopped to listen', async () => {
    const setup = await fakes()
    let heard = 0
    const listener = (): void => {
      heard += 1
    }
    setup.pool.on('session.created', listener)
    await setup.session('a')
    setup.pool.off('session.created', listener)
    await setup.session('b')
    expect(heard).toBe(1)
  })

  test('of a turn is one end, with what it was', async () => {
    const setup = await fakes({ agents: { assistant: NO_SPARES } })
    setup.driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const turn = (await setup.session('k')).send('Hello')
    await setup.driver.until(() => setup.driver.processes[0]?.unanswered === 1)
    await setup.clock.advance(2_000)
    setup.driver.processes[0]?.sayText('Hi')
    await setup.clock.advance(1_000)
    setup.driver.processes[0]?.finish()
    await turn.result
    await setup.clock.settle()
    expect(setup.told('turn.ended')).toEqual([
      {
        id: turn.id,
        session: { tenant: 'default', key: 'k', agent: 'assistant' },
        worker: setup.pool.workers()[0]?.id,
        warmth: 'cold',
        outcome: 'success',
        durationMs: 3_000,
        firstMessageMs: 2_000,
        usage: NOTHING_USED,
        phases: {
          queued: 0,
          starting: 0,
          prompt: 2_000,
          model: 1_000,
          tool: 0,
          permission: 0,
          reader: 0,
          saving: 0,
        },
        tools: {},
        sdkSessionId: setup.pool.workers()[0]?.sdkSessionId,
        steps: [
          { type: 'phase', name: 'prompt', startMs: 0, durationMs: 2_000 },
          { type: 'model', model: 'claude-fake', tokens: NO_TOKENS, failed: false, startMs: 2_000, durationMs: 1_000 },
          { type: 'phase', name: 'model', startMs: 2_000, durationMs: 1_000 },
        ],
        traceparent: undefined,
        startedAt: setup.clock.wall() - 3_000,
      },
    ])
    expect(setup.pool.workers()).toMatchObject([{ warmth: 'cold', turns: 1, state: 'idle', session: 'k' }])
  })
})
