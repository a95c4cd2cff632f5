import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FakeClock, createTestPool } from '../../../src/testing/index.ts'

describe('the fake clock', () => {
  test('fires timers in order, each at its time, and those that they set', async () => {
    const clock = new FakeClock()
    const fired: string[] = []
    const note = (name: string) => (): void => void fired.push(`${name} at ${clock.now()}`)
    clock.after(20, note('late'))
    clock.after(10, note('first of two'))
    clock.after(10, note('second of two'))
    clock.after(5, () => clock.after(5, note('set meanwhile')))
    clock.after(31, note('too late'))
    clock.after(-5, note('overdue'))
    await clock.advance(30)
    expect(fired).toEqual([
      'overdue at 0',
      'first of two at 10',
      'second of two at 10',
      'set meanwhile at 10',
      'late at 20',
    ])
    expect([clock.now(), clock.pending]).toEqual([30, 1])
  })

  test('does not fire what was cancelled, nor what is never due', async () => {
    const clock = new FakeClock()
    const cancel = clock.after(10, () => expect.unreachable())
    clock.after(Infinity, () => expect.unreachable())
    cancel()
    cancel()
    await clock.advance(1e9)
    expect(clock.pending).toBe(1)
  })

  test('lets promises run between two timers', async () => {
    const clock = new FakeClock()
    const order: string[] = []
    clock.after(
      1,
      () =>
        void Promise.resolve()
          .then(() => Promise.resolve())
          .then(() => order.push('promise')),
    )
    clock.after(2, () => void order.push('timer'))
    await clock.advance(2)
    expect(order).toEqual(['promise', 'timer'])
  })

  test('moves wall time and monotonic time together', async () => {
    const clock = new FakeClock()
    const began = clock.wall()
    await clock.advance(1_500)
    expect([clock.now(), clock.wall() - began]).toEqual([1_500, 1_500])
  })
})

describe('a test pool', () => {
  test('removes its files, and leaves no timer', async () => {
    const { pool, driver, clock, ...rest } = await createTestPool()
    await (await pool.session('k', { agent: 'assistant' })).send('Hello').result
    const cwd = driver.processes[0]?.spec.cwd ?? ''
    expect(existsSync(cwd)).toBe(true)
    await rest[Symbol.asyncDispose]()
    expect([existsSync(dirname(dirname(cwd))), clock.pending, driver.living]).toEqual([false, 0, []])
  })

  test('removes its files also when its options are bad', async () => {
    await expect(createTestPool({ limits: { turns: 0 } })).rejects.toThrow('limits.turns: ')
  })

  test('goes on after a restart of the host', async () => {
    const store = new (await import('../../../src/testing/index.ts')).MemoryStore()
    const first = await createTestPool({ store })
    const { driver, clock } = first
    await (await first.pool.session('k', { agent: 'assistant', cwd: import.meta.dirname })).send('Hello').result
    await first[Symbol.asyncDispose]()
    await using next = await createTestPool({ store, driver, clock })
    const result = await (await next.pool.session('k')).send('Hello?').result
    expect(result).toMatchObject({ result: '[turn 2] You said: Hello?' })
  })

  test('ends a start whose time is over', async () => {
    await using fakes = await createTestPool({ starts: { timeout: '3s' } })
    fakes.driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const turn = (await fakes.pool.session('k', { agent: 'assistant' })).send('Hello')
    await fakes.driver.process(0)
    await fakes.clock.advance(3_000)
    await expect(turn.result).rejects.toMatchObject({ code: 'start_failed', phase: 'initialize' })
  })
})
