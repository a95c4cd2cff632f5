import { beforeEach, describe, expect, test } from 'vitest'
import { SessionBusyError, TurnInterruptedError } from '../../../src/errors.ts'
import type { Session, Turn } from '../../../src/index.ts'
import { answer, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

let setup: Fakes
let handle: Session
let running: Turn

/** A session with a turn that runs. */
beforeEach(async () => {
  setup = await fakes()
  setup.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  handle = await setup.session('k')
  running = handle.send('one')
  await setup.driver.until(() => setup.driver.processes[0]?.unanswered === 1)
})

const finish = (): void => setup.driver.processes[0]?.finish({ text: 'done' })

const prompts = (): unknown[] =>
  setup.driver.processes.flatMap((process) => process.prompts.map(({ message }) => message.content))

describe('a second turn', () => {
  test('is refused where nothing else was asked for', async () => {
    const second = handle.send('two')
    await expect(second.result).rejects.toThrow(SessionBusyError)
    await expect(second.next()).rejects.toThrow('session "k" is busy')
    expect(prompts()).toEqual(['one'])
    finish()
    expect(await outcome(running)).toBe('success')
  })

  test('queues, and runs after the first', async () => {
    const queued = [handle.send('two', { onBusy: 'queue' }), handle.send('three', { onBusy: 'queue' })]
    for (let count = 1; count <= 3; count += 1) {
      await setup.driver.until(() => prompts().length === count)
      finish()
    }
    expect(await Promise.all([running, ...queued].map(outcome))).toEqual(['success', 'success', 'success'])
    expect(prompts()).toEqual(['one', 'two', 'three'])
    expect(setup.driver.processes).toHaveLength(1)
  })

  test('interrupts, and goes before those that wait', async () => {
    const queued = handle.send('two', { onBusy: 'queue' })
    setup.driver.processes[0]?.sayText('Well')
    const urgent = handle.send('now', { onBusy: 'interrupt' })
    expect(await outcome(running)).toBe('error_during_execution')
    await setup.driver.until(() => prompts().length === 2)
    finish()
    await setup.driver.until(() => prompts().length === 3)
    finish()
    expect([await outcome(urgent), await outcome(queued)]).toEqual(['success', 'success'])
    expect(prompts()).toEqual(['one', 'now', 'two'])
  })

  test('steers, and shares the end', async () => {
    const steering = handle.send('two', { onBusy: 'steer' })
    await setup.driver.until(() => prompts().length === 2)
    finish()
    expect(await steering.result).toBe(await running.result)
    expect((await handle.info()).turns).toBe(1)
  })

  test('that steers where nothing runs is a turn', async () => {
    finish()
    await running.result
    const next = handle.send('two', { onBusy: 'steer' })
    await setup.driver.until(() => prompts().length === 2)
    finish()
    expect(await answer(next)).toBe('done')
  })

  test.each(['reject', 'queue', 'interrupt', 'steer'] as const)(
    'without a prompt fails by itself and not at once (%s)',
    async (onBusy) => {
      const empty = handle.send('', { onBusy })
      await expect(empty.result).rejects.toMatchObject({ code: 'invalid_config', path: 'input' })
      expect(setup.driver.processes[0]?.interrupts).toBe(0)
      finish()
      expect(await outcome(running)).toBe('success')
    },
  )

  test('is refused where sixteen wait', async () => {
    const queued = Array.from({ length: 16 }, (_, number) => handle.send(`${number}`, { onBusy: 'queue' }))
    for (const onBusy of ['queue', 'interrupt'] as const) {
      await expect(handle.send('one too many', { onBusy }).result).rejects.toThrow(
        '16 turns of this session wait already',
      )
    }
    await handle.delete()
    expect(new Set(await Promise.all(queued.map(outcome)))).toEqual(new Set(['session_deleted']))
  })

  test('that was given up while it waited makes room for another', async () => {
    const abort = new AbortController()
    const given = [
      ...Array.from({ length: 8 }, () => handle.send('x', { onBusy: 'queue', signal: abort.signal })),
      ...Array.from({ length: 8 }, () => handle.send('x', { onBusy: 'queue' })),
    ]
    abort.abort()
    for (const turn of given.slice(8)) await turn.interrupt()
    expect(new Set(await Promise.all(given.map(outcome)))).toEqual(new Set(['turn_interrupted']))
    const next = handle.send('two', { onBusy: 'queue' })
    finish()
    await setup.driver.until(() => prompts().length === 2)
    finish()
    expect(await outcome(next)).toBe('success')
    expect(prompts()).toEqual(['one', 'two'])
  })
})

describe('an abort', () => {
  test('of a running turn interrupts the process and is the turn’s error', async () => {
    finish()
    await running.result
    const abort = new AbortController()
    const turn = handle.send('two', { signal: abort.signal })
    await setup.driver.until(() => prompts().length === 2)
    setup.driver.processes[0]?.sayText('Well')
    abort.abort(new Error('the user left'))
    await expect(turn.result).rejects.toThrow(TurnInterruptedError)
    await expect(turn.result).rejects.toMatchObject({ cause: new Error('the user left') })
    expect(setup.driver.processes[0]?.interrupts).toBe(1)
    expect((await handle.info()).state).toBe('idle')
  })

  test('before the turn means that nothing happens', async () => {
    const other = await setup.session('other')
    expect(await outcome(other.send('two', { signal: AbortSignal.abort() }))).toBe('turn_interrupted')
    await setup.clock.settle()
    expect(setup.driver.processes).toHaveLength(1)
    finish()
    await running.result
  })

  test('after the turn changes nothing, and no listener stays', async () => {
    const abort = new AbortController()
    const other = (await setup.session('other')).send('two', { signal: abort.signal })
    await setup.driver.until(() => setup.driver.processes[1]?.unanswered === 1)
    setup.driver.processes[1]?.finish()
    expect(await outcome(other)).toBe('success')
    await setup.clock.settle()
    abort.abort()
    expect(setup.driver.processes[1]?.interrupts).toBe(0)
    finish()
    await running.result
  })

  test('while the process starts leaves the process to the session’s next turn', async () => {
    setup.driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const other = await setup.session('other')
    const abort = new AbortController()
    const turn = other.send('two', { signal: abort.signal })
    const process = await setup.driver.process(1)
    abort.abort()
    expect(await outcome(turn)).toBe('turn_interrupted')
    process.becomeReady()
    await setup.clock.settle()
    expect(await other.info()).toMatchObject({ state: 'idle', turns: 0 })
    const next = other.send('three')
    expect(await answer(next)).toBe('[turn 1] You said: three')
    expect(next.warmth).toBe('primed')
    expect(process.prompts).toHaveLength(1)
    finish()
    await running.result
  })

  test('of a process that does not heed it ends the process, and the session goes on', async () => {
    const [process] = setup.driver.processes
    if (process !== undefined) process.heedsInterrupts = false
    process?.sayText('Well')
    void running.interrupt()
    await setup.clock.advance(5_000)
    expect(await outcome(running)).toBe('worker_exited')
    expect(setup.reasons()).toEqual(['unresponsive'])
    setup.driver.onStart = undefined
    expect(await outcome(handle.send('two'))).toBe('success')
  })
})

test('a reader that stops early interrupts its turn, and the session goes on', async () => {
  setup.driver.processes[0]?.sayText('Well')
  for await (const message of running) if (message.type === 'assistant') break
  expect(await outcome(running)).toBe('error_during_execution')
  const next = handle.send('two')
  await setup.driver.until(() => prompts().length === 2)
  finish()
  expect(await outcome(next)).toBe('success')
})
