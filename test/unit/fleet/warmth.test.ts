import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ResumeError, StartError, WorkerExitedError } from '../../../src/errors.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import type { FakeDriver, FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, answer, fakes, outcome } from '../../fixtures/fakes.ts'
import { OneHost } from '../../conformance/one-host.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-warmth-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

const holding = (process: FakeProcess): void => {
  process.answersAtOnce = false
}

const slow = (process: FakeProcess): void => {
  process.readyAtOnce = false
}

/** How often each prompt was handed to a process. */
const timesSent = (driver: FakeDriver): Map<unknown, number> => {
  const times = new Map<unknown, number>()
  for (const { prompts } of driver.processes)
    for (const { message } of prompts) times.set(message.content, (times.get(message.content) ?? 0) + 1)
  return times
}

describe('a turn', () => {
  test('is cold where nothing is, live on the worker of the last one, resumed after that has gone', async () => {
    const { pool, session, told, driver } = await fakes()
    const handle = await session('k')
    const turns = [handle.send('one')]
    await turns[0]?.result
    turns.push(handle.send('two'))
    await turns[1]?.result
    await handle.hibernate()
    turns.push(handle.send('three'))
    await turns[2]?.result
    expect(turns.map(({ warmth }) => warmth)).toEqual(['cold', 'live', 'resumed'])
    expect(told('turn.started').map(({ warmth }) => warmth)).toEqual(['cold', 'live', 'resumed'])
    expect(driver.processes.map(({ prepared }) => prepared)).toEqual([0, 0])
    expect(pool.stats().totals.turnsByWarmth).toMatchObject({ live: 1, primed: 0, spare: 0, resumed: 1, cold: 1 })
  })

  test('is primed where the process was asked for ahead', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    await handle.warm()
    expect((await handle.info()).state).toBe('idle')
    const turn = handle.send('Hello')
    await turn.result
    expect(turn.warmth).toBe('primed')
    await handle.hibernate()
    await handle.warm()
    const next = handle.send('Again')
    expect(await answer(next)).toBe('[turn 2] You said: Again')
    expect(next.warmth).toBe('primed')
    expect(driver.processes.map(({ spec }) => spec.conversation.kind)).toEqual(['new', 'resume'])
    expect(driver.processes.map(({ prepared }) => prepared)).toEqual([1, 1])
  })

  test('shares a start that is under way', async () => {
    const { session, driver } = await fakes()
    driver.onStart = slow
    const handle = await session('k')
    const uses = [handle.warm(), handle.warm(), handle.send('Hello').result]
    const process = await driver.process(0)
    process.becomeReady()
    await Promise.all(uses)
    expect(driver.processes).toHaveLength(1)
  })

  test('that joins a start made ahead takes it before the others that are made ahead', async () => {
    const { session, driver } = await fakes({ starts: { concurrent: 1 } })
    driver.onStart = slow
    const [first, second, third] = [await session('1'), await session('2'), await session('3')]
    const warming = [first.warm(), second.warm(), third.warm()]
    const process = await driver.process(0)
    const turn = third.send('Hello')
    driver.onStart = undefined
    process.becomeReady()
    await Promise.all([...warming, turn.result])
    const { sdkSessionId } = await third.info()
    expect(driver.processes[1]?.spec.conversation).toMatchObject({ sessionId: sdkSessionId })
  })

  test('finds a spare of its agent, which keeps its id and its workspace', async () => {
    const { pool, driver, clock } = await fakes({
      agents: { assistant: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
    })
    await clock.settle()
    expect(pool.stats().workers).toMatchObject({ spares: 1, total: 1 })
    const handle = await pool.session('k', { agent: 'assistant' })
    const turn = handle.send('Hello')
    await turn.result
    expect(turn.warmth).toBe('spare')
    const spare = await driver.process(0)
    expect(await handle.info()).toMatchObject({
      cwd: spare.spec.cwd,
      sdkSessionId: (spare.spec.conversation as { sessionId: string }).sessionId,
    })
    expect(spare).toMatchObject({ prompts: { length: 1 }, prepared: 1 })
  })

  test('finds a spare for a place that the caller chose, which is bound to it', async () => {
    const { pool, driver, clock } = await fakes({
      agents: { assistant: { spares: { max: 0 }, unboundSpares: { min: 1 } } },
    })
    await clock.settle()
    expect(driver.processes.map(({ spec }) => spec.conversation.kind)).toEqual(['unbound'])
    const handle = await pool.session('k', { agent: 'assistant', cwd: folder })
    const turn = handle.send('Hello')
    await turn.result
    expect(turn.warmth).toBe('spare')
    await handle.hibernate()
    expect(await answer(handle.send('Again'))).toBe('[turn 2] You said: Again')
    expect(driver.processes.at(-1)?.spec).toMatchObject({ cwd: folder, conversation: { kind: 'resume' } })
  })

  test('for which a spare could not be bound is served by a plain start, with nothing lost', async () => {
    const { pool, driver, clock, reasons } = await fakes({
      agents: { assistant: { spares: { max: 0 }, unboundSpares: { min: 1, max: 1 } } },
    })
    await clock.settle()
    const [spare] = driver.processes
    if (spare !== undefined) spare.bindRefusal = 'cwd_untrusted'
    const turn = (await pool.session('k', { agent: 'assistant', cwd: folder })).send('Hello')
    expect(await answer(turn)).toBe('[turn 1] You said: Hello')
    expect(turn.warmth).toBe('cold')
    expect(spare?.prompts).toEqual([])
    expect(reasons()).toContain('bind_refused')
  })

  test('of a session that has begun never takes a spare', async () => {
    const { pool, clock } = await fakes({ agents: { assistant: { spares: { min: 1 }, unboundSpares: { max: 0 } } } })
    await clock.settle()
    const handle = await pool.session('k', { agent: 'assistant' })
    await handle.send('Hello').result
    await handle.hibernate()
    await clock.advance(1_000)
    expect(pool.stats().workers.spares).toBe(1)
    const turn = handle.send('Again')
    await turn.result
    expect(turn.warmth).toBe('resumed')
  })

  test('never finds a spare of another tenant', async () => {
    const { pool, clock } = await fakes({ agents: { assistant: { spares: { min: 1 }, unboundSpares: { max: 0 } } } })
    await clock.settle()
    const turn = (await pool.session('k', { agent: 'assistant', tenant: 'other' })).send('Hello')
    await turn.result
    expect(turn.warmth).toBe('cold')
  })

  test('that waited for its start takes the spare that became ready meanwhile', async () => {
    const { pool, driver, clock } = await fakes({
      agents: { assistant: { spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } },
      starts: { concurrent: 1 },
    })
    driver.onStart = slow
    const spare = await driver.process(0)
    const turn = (await pool.session('k', { agent: 'assistant' })).send('Hello')
    await clock.settle()
    expect(pool.stats().starts).toEqual({ running: 1, waiting: 1 })
    driver.onStart = undefined
    spare.becomeReady()
    expect(await answer(turn)).toBe('[turn 1] You said: Hello')
    expect(turn.warmth).toBe('spare')
  })
})

describe('many first turns at once', () => {
  test('of one session start one process', async () => {
    const { session, driver } = await fakes()
    const handles = await Promise.all([session('k'), session('k'), session('k')])
    const outcomes = await Promise.all(handles.map((handle) => outcome(handle.send('Hello'))))
    expect(outcomes.toSorted()).toEqual(['session_busy', 'session_busy', 'success'])
    expect(driver.processes).toHaveLength(1)
  })

  test('of many sessions start few processes at a time', async () => {
    const { pool, session, driver, clock } = await fakes({ starts: { concurrent: 3 } })
    driver.onStart = slow
    const handles = await Promise.all(Array.from({ length: 10 }, (_, number) => session(`k${number}`)))
    const turns = handles.map((handle) => handle.send('Hello'))
    await clock.settle()
    expect(driver.processes).toHaveLength(3)
    expect(pool.stats()).toMatchObject({ starts: { running: 3, waiting: 7 }, workers: { starting: 3, total: 3 } })
    driver.onStart = undefined
    for (const process of driver.processes) process.becomeReady()
    expect(new Set(await Promise.all(turns.map(outcome)))).toEqual(new Set(['success']))
    expect(driver.processes).toHaveLength(10)
  })
})

describe('a process that has died', () => {
  test('while idle is noticed, and the next turn resumes', async () => {
    const { pool, session, driver, clock, reasons } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    driver.processes[0]?.exit({ signal: 'SIGKILL' })
    await clock.settle()
    expect([pool.workers(), reasons()]).toEqual([[], ['exited']])
    const turn = handle.send('Again')
    expect(await answer(turn)).toBe('[turn 2] You said: Again')
    expect(turn.warmth).toBe('resumed')
  })

  test('but still looks alive is found at checkout, and gets no prompt', async () => {
    const { session, driver, reasons } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    driver.processes[0]?.closeInput()
    const turn = handle.send('Again')
    expect(await answer(turn)).toBe('[turn 2] You said: Again')
    expect(driver.processes[0]?.prompts).toHaveLength(1)
    expect(reasons()).toEqual(['exited'])
  })

  test('while it waited as a spare is not given to anybody', async () => {
    const { pool, driver, clock } = await fakes({
      agents: { assistant: { spares: { min: 1 }, unboundSpares: { max: 0 } } },
    })
    await clock.settle()
    driver.processes[0]?.closeInput()
    const turn = (await pool.session('k', { agent: 'assistant' })).send('Hello')
    await turn.result
    expect(driver.processes[0]?.prompts).toEqual([])
  })

  test('during a turn ends it with all that is known, and its prompt is not sent again', async () => {
    const { session, driver, reasons } = await fakes()
    driver.onStart = holding
    const handle = await session('k')
    const turn = handle.send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    driver.processes[0]?.sayText('Just a mom')
    driver.processes[0]?.exit({ signal: 'SIGSEGV', stderr: 'segmentation fault' })
    const messages: string[] = []
    const reading = (async () => {
      for await (const message of turn) messages.push(message.type)
    })()
    await expect(reading).rejects.toThrow(WorkerExitedError)
    await expect(turn.result).rejects.toMatchObject({ exitCode: null, signal: 'SIGSEGV', stderr: 'segmentation fault' })
    expect(messages).toEqual(['assistant'])
    expect(reasons()).toEqual(['exited'])
    driver.onStart = undefined
    // The fake remembers what was answered alone: the conversation that was begun is gone with its process.
    expect(await outcome(handle.send('Again'))).toBe('success')
    expect([...timesSent(driver).values()]).toEqual([1, 1])
  })

  test('at the moment in which it became ready does not get a prompt that nobody answers', async () => {
    const { session, driver, pool } = await fakes()
    let deaths = 0
    pool.on('worker.ready', () => {
      if ((deaths += 1) <= 2) driver.processes.at(-1)?.exit({ exitCode: 1 })
    })
    const turn = (await session('k')).send('Hello')
    expect(['success', 'worker_exited', 'start_failed']).toContain(await outcome(turn))
    expect(Math.max(...timesSent(driver).values())).toBeLessThanOrEqual(1)
  })
})

test('a process that was asked for ahead in place of a dead one is its session’s only one', async () => {
  const { session, driver, pool } = await fakes()
  const handle = await session('k')
  await handle.send('Hello').result
  driver.processes[0]?.closeInput()
  await handle.warm()
  await handle.warm()
  expect(pool.workers()).toMatchObject([{ session: 'k', state: 'idle' }])
  const turn = handle.send('Again')
  expect(await answer(turn)).toBe('[turn 2] You said: Again')
  expect([turn.warmth, driver.processes.length]).toEqual(['primed', 2])
})

describe('a start that fails', () => {
  test('is the turn’s StartError, and nothing was sent', async () => {
    const { session, driver, reasons, clock } = await fakes()
    driver.onStart = (process) => process.failToStart()
    const handle = await session('k')
    const turn = handle.send('Hello')
    await expect(turn.result).rejects.toThrow(StartError)
    await clock.settle()
    expect([driver.processes[0]?.prompts, driver.living, reasons()]).toEqual([[], [], ['start_failed']])
    driver.onStart = undefined
    expect(await outcome(handle.send('Again'))).toBe('success')
  })

  test('three times in one session holds that session back, and no other', async () => {
    const { session, driver, clock } = await fakes()
    driver.onStart = (process) => process.failToStart()
    const handle = await session('k')
    for (let number = 0; number < 3; number += 1) expect(await outcome(handle.send('Hello'))).toBe('start_failed')
    driver.onStart = undefined
    await expect(handle.send('Hello').result).rejects.toMatchObject({
      phase: 'backoff',
      message: expect.stringContaining('processes of session "k" keep failing to start; the next try is in 1s. '),
    })
    expect(await outcome((await session('other')).send('Hello'))).toBe('success')
    await clock.advance(1_000)
    expect(await outcome(handle.send('Hello'))).toBe('success')
  })

  test('in three sessions holds the agent’s starts back, and says why and for how long', async () => {
    const { session, driver, clock } = await fakes()
    driver.onStart = (process) => process.failToStart()
    for (const key of ['x', 'y', 'z']) expect(await outcome((await session(key)).send('Hello'))).toBe('start_failed')
    driver.onStart = undefined
    const handle = await session('k')
    const held = handle.send('Hello')
    await expect(held.result).rejects.toMatchObject({
      phase: 'backoff',
      message:
        'processes of agent "assistant" keep failing to start; the next try is in 1s. ' +
        'The last failure: the agent process exited with code 1',
    })
    expect(driver.processes).toHaveLength(3)
    await clock.advance(1_000)
    expect(await outcome(handle.send('Hello'))).toBe('success')
  })

  test('gives back what it took', async () => {
    const { pool, session, driver, clock } = await fakes({ starts: { concurrent: 1 } })
    driver.onStart = (process) => process.failToStart()
    await outcome((await session('k')).send('Hello'))
    await clock.settle()
    expect(pool.stats()).toMatchObject({
      turns: { running: 0 },
      starts: { running: 0, waiting: 0 },
      workers: { total: 0 },
      activeSessions: 0,
    })
  })

  test('because the place has gone says so before any process', async () => {
    const { pool, driver } = await fakes()
    const cwd = join(folder, 'gone')
    const { mkdir } = await import('node:fs/promises')
    await mkdir(cwd)
    const handle = await pool.session('k', { agent: 'assistant', cwd })
    await rm(cwd, { recursive: true })
    await expect(handle.send('Hello').result).rejects.toThrow(`the working directory ${cwd} does not exist any more`)
    expect(driver.processes).toEqual([])
  })
})

describe('a conversation whose transcript has gone', () => {
  test('is a ResumeError, every time, until somebody decides', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    await handle.hibernate()
    driver.conversations.clear()
    for (let number = 0; number < 3; number += 1) {
      await expect(handle.send('Again').result).rejects.toThrow(ResumeError)
    }
    expect(timesSent(driver).get('Again')).toBeUndefined()
  })

  test('begins anew, once, where the agent says so, and tells', async () => {
    const { pool, driver, told } = await fakes({ agents: { assistant: { ...NO_SPARES, onStaleResume: 'fresh' } } })
    const handle = await pool.session('k', { agent: 'assistant' })
    await handle.send('Hello').result
    const { sdkSessionId: lost } = await handle.info()
    await handle.hibernate()
    driver.conversations.clear()
    expect(await answer(handle.send('Again'))).toBe('[turn 1] You said: Again')
    expect(told('session.restarted')).toEqual([{ session: { tenant: 'default', key: 'k', agent: 'assistant' }, lost }])
    expect(await handle.info()).toMatchObject({ turns: 1 })
    expect((await handle.info()).sdkSessionId).not.toBe(lost)
  })

  test('of which no turn had ended is begun anew without a word', async () => {
    const { session, driver, told } = await fakes()
    driver.onStart = holding
    const handle = await session('k')
    const turn = handle.send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    driver.processes[0]?.exit({ exitCode: 1 })
    expect(await outcome(turn)).toBe('worker_exited')
    driver.onStart = undefined
    driver.conversations.clear()
    expect(await answer(handle.send('Again'))).toBe('[turn 1] You said: Again')
    expect(told('session.restarted')).toEqual([])
  })

  test('is resumed where a host died before it could note that it had begun', async () => {
    const store = new MemoryStore()
    const first = await fakes({ store })
    await (await first.session('k')).send('Hello').result
    const found = await store.get('default', 'k')
    await first.pool.close()
    const dead = await OneHost.of(store, 'data directory')
    if (found === undefined) throw new Error('the session is not in the store')
    await dead.claim(found.uid)
    await dead.put({ ...found, begun: false, turns: 0 })
    const next = await fakes({ store, driver: first.driver, clock: first.clock })
    expect(await answer((await next.pool.session('k')).send('Again'))).toBe('[turn 2] You said: Again')
  })
})
