import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { ConfigError, PoolClosedError, SessionConflictError, SessionGoneError } from '../../../src/errors.ts'
import { NOTHING_USED } from '../../../src/usage/usage.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import { NO_SPARES, answer, fakes, outcome } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-sessions-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

const TWO_AGENTS = { agents: { assistant: NO_SPARES, reviewer: NO_SPARES } }

describe('a session', () => {
  test('is begun at its first use, and found ever after, with or without its agent', async () => {
    const { pool, session, told } = await fakes()
    const first = await session('k')
    const again = await pool.session('k')
    expect([again.key, again.agent, again.tenant]).toEqual(['k', 'assistant', 'default'])
    await first.send('Hello').result
    expect(await answer(again.send('And again'))).toBe('[turn 2] You said: And again')
    expect(told('session.created')).toHaveLength(1)
  })

  test('is begun once by many first uses at the same time', async () => {
    const { session, told } = await fakes()
    await Promise.all(Array.from({ length: 20 }, () => session('k')))
    expect(told('session.created')).toHaveLength(1)
  })

  test('that nobody has begun is not found without an agent, and does not get in the way of who begins it', async () => {
    const { pool, session } = await fakes()
    const [found, begun] = await Promise.allSettled([pool.session('k'), session('k')])
    expect(found).toMatchObject({ status: 'rejected', reason: { code: 'session_not_found' } })
    expect(begun).toMatchObject({ status: 'fulfilled' })
    expect((await pool.session('k')).key).toBe('k')
  })

  test('keeps its agent and its place', async () => {
    const { pool } = await fakes(TWO_AGENTS)
    await pool.session('k', { agent: 'assistant', cwd: folder })
    await expect(pool.session('k', { agent: 'reviewer' })).rejects.toThrow(SessionConflictError)
    await expect(pool.session('k', { cwd: tmpdir() })).rejects.toThrow(SessionConflictError)
    await expect(pool.session('k', { agent: 'assistant', cwd: folder })).resolves.toBeDefined()
    await expect(pool.session('k', { agent: 'nobody' })).rejects.toThrow(
      'there is no agent "nobody"; known are: assistant, reviewer',
    )
  })

  test('needs a place that exists', async () => {
    const { pool } = await fakes()
    const file = join(folder, 'file')
    await writeFile(file, '')
    await expect(pool.session('k', { agent: 'assistant', cwd: join(folder, 'nowhere') })).rejects.toThrow(
      'does not exist',
    )
    await expect(pool.session('k', { agent: 'assistant', cwd: file })).rejects.toThrow('is not a directory')
    await expect(pool.session('', { agent: 'assistant' })).rejects.toThrow(ConfigError)
    await expect(pool.session('k', { agent: 'assistant', tenant: '' })).rejects.toThrow(ConfigError)
  })

  test('of one tenant is not that of another under the same key', async () => {
    const { pool, driver } = await fakes()
    const [a, b] = [
      await pool.session('k', { agent: 'assistant', tenant: 'a' }),
      await pool.session('k', { agent: 'assistant', tenant: 'b' }),
    ]
    await a.send('Hello').result
    expect(await answer(b.send('Hello'))).toBe('[turn 1] You said: Hello')
    const [one, other] = driver.processes.map(({ spec }) => spec)
    expect(one?.env['HOME']).not.toBe(other?.env['HOME'])
    expect(one?.env['CLAUDE_CONFIG_DIR']).not.toBe(other?.env['CLAUDE_CONFIG_DIR'])
    expect(one?.cwd).not.toBe(other?.cwd)
  })

  test('holds nothing: handles cost nothing until something is sent', async () => {
    const { pool, session } = await fakes()
    const handles = await Promise.all(Array.from({ length: 50 }, (_, number) => session(`k${number}`)))
    expect(pool.stats().activeSessions).toBe(0)
    expect(await answer((handles[7] as (typeof handles)[0]).send('Hello'))).toContain('Hello')
    expect(pool.stats().activeSessions).toBe(1)
  })

  test('that is looked at and used in the same moment has one process and one turn', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    const uses = [
      handle.info(),
      handle.send('one'),
      handle.info(),
      handle.send('two', { onBusy: 'queue' }),
      handle.info(),
    ]
    await Promise.all(uses.map((use) => ('result' in use ? use.result : use)))
    const later = await Promise.all([handle.send('three').result, handle.info()])
    expect(later[0]).toMatchObject({ result: '[turn 3] You said: three' })
    expect(driver.processes).toHaveLength(1)
  })

  test('tells what it is', async () => {
    const { session, clock } = await fakes()
    const handle = await session('k')
    const begun = clock.wall()
    expect(await handle.info()).toEqual({
      tenant: 'default',
      key: 'k',
      agent: 'assistant',
      cwd: undefined,
      sdkSessionId: undefined,
      state: 'hibernated',
      turns: 0,
      usage: NOTHING_USED,
      createdAt: begun,
      lastUsedAt: begun,
    })
    await clock.advance(1_000)
    await handle.send('Hello').result
    await clock.settle()
    expect(await handle.info()).toMatchObject({
      state: 'idle',
      turns: 1,
      lastUsedAt: begun + 1_000,
      cwd: expect.stringContaining('workspaces'),
      sdkSessionId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
  })

  test('has the limits of its agent from its first turn on', async () => {
    const { pool, driver, clock } = await fakes({
      agents: { assistant: { ...NO_SPARES, limits: { turnTimeout: '1m' } } },
    })
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const handle = await pool.session('k', { agent: 'assistant' })
    const turn = handle.send('Hello')
    await driver.process(0)
    await clock.advance(61_000)
    expect(await outcome(turn)).toBe('turn_timeout')
  })

  test('is listed with the others, page by page', async () => {
    const { pool, session } = await fakes()
    for (const key of ['c', 'a', 'b']) await session(key)
    expect((await pool.sessions()).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
    expect((await pool.sessions({ limit: 1, after: { tenant: 'default', key: 'a' } })).map(({ key }) => key)).toEqual([
      'b',
    ])
    expect(await pool.sessions({ tenant: 'other' })).toEqual([])
  })

  test.each([0, -1, 1.5, NaN, Infinity])('is not listed on pages of %d', async (limit) => {
    const { pool } = await fakes()
    await expect(pool.sessions({ limit })).rejects.toThrow(ConfigError)
  })

  test('outlives its host', async () => {
    const store = new MemoryStore()
    const first = await fakes({ store })
    await (await first.session('k')).send('Hello').result
    await first.pool.close()
    const next = await fakes({ store, driver: first.driver, clock: first.clock })
    expect(await answer((await next.pool.session('k')).send('Still there?'))).toBe('[turn 2] You said: Still there?')
  })
})

describe('hibernating', () => {
  test('ends the process and keeps the conversation', async () => {
    const { session, driver, reasons } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    await handle.hibernate()
    expect([driver.living, reasons()]).toEqual([[], ['hibernate']])
    expect((await handle.info()).state).toBe('hibernated')
    expect(await answer(handle.send('Again'))).toBe('[turn 2] You said: Again')
  })

  test('what has no process is nothing', async () => {
    const { session } = await fakes()
    await (await session('k')).hibernate()
  })

  test('is refused while a turn runs', async () => {
    const { session, driver } = await fakes()
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const handle = await session('k')
    const turn = handle.send('Hello')
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    await expect(handle.hibernate()).rejects.toMatchObject({ code: 'session_busy' })
    process.finish()
    await turn.result
  })
})

describe('deleting', () => {
  test('removes everything: process, record, conversation and workspace', async () => {
    const { pool, session, driver, told, reasons } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    const { cwd = '' } = await handle.info()
    expect(existsSync(cwd)).toBe(true)
    await handle.delete()
    expect([driver.living, driver.conversations.size, existsSync(cwd)]).toEqual([[], 0, false])
    expect(await pool.sessions()).toEqual([])
    expect(told('session.deleted')).toHaveLength(1)
    expect(reasons()).toEqual(['deleted'])
  })

  test('lets nobody use the session while it goes', async () => {
    const { pool, session, driver } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    const sent: Promise<string>[] = []
    pool.on('worker.closed', () => void sent.push(outcome(handle.send('Once more'))))
    await handle.delete()
    expect(await Promise.all(sent)).toEqual(['session_deleted'])
    expect([driver.living, await pool.sessions()]).toEqual([[], []])
  })

  test('leaves a place that the caller chose', async () => {
    const { pool } = await fakes()
    const handle = await pool.session('k', { agent: 'assistant', cwd: folder })
    await handle.send('Hello').result
    await handle.delete()
    expect(existsSync(folder)).toBe(true)
  })

  test('twice is no error, and happens once', async () => {
    const { session, told } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    await Promise.all([handle.delete(), handle.delete()])
    await handle.delete()
    expect(told('session.deleted')).toHaveLength(1)
  })

  test('ends the turn that runs and those that wait', async () => {
    const { session, driver } = await fakes()
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const handle = await session('k')
    const running = handle.send('one')
    const waiting = handle.send('two', { onBusy: 'queue' })
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    await handle.delete()
    expect([await outcome(running), await outcome(waiting)]).toEqual(['session_deleted', 'session_deleted'])
  })

  test('while the process starts ends it, and is no failure of its agent', async () => {
    const { session, driver, reasons } = await fakes()
    driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    for (let number = 0; number < 4; number += 1) {
      const handle = await session(`k${number}`)
      const turn = handle.send('Hello')
      await driver.process(number)
      await handle.delete()
      expect(await outcome(turn)).toBe('session_deleted')
    }
    driver.onStart = undefined
    expect(reasons()).toEqual(['deleted', 'deleted', 'deleted', 'deleted'])
    expect(await outcome((await session('next')).send('Hello'))).toBe('success')
  })

  test('while a start waits for its turn leaves nothing behind', async () => {
    const { pool, session, driver, clock } = await fakes({ starts: { concurrent: 1 } })
    driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const first = (await session('first')).send('Hello')
    await driver.process(0)
    const handle = await session('k')
    const turn = handle.send('Hello')
    await clock.settle()
    expect(pool.stats().starts.waiting).toBe(1)
    const deleted = handle.delete()
    driver.onStart = undefined
    driver.processes[0]?.becomeReady()
    await deleted
    expect([await outcome(turn), await outcome(first)]).toEqual(['session_deleted', 'success'])
    expect(driver.living).toHaveLength(1)
    expect((await pool.sessions()).map(({ key }) => key)).toEqual(['first'])
  })

  test('makes the handle useless, also when there is a new session under its key', async () => {
    const { session } = await fakes()
    const old = await session('k')
    await old.send('Hello').result
    await old.delete()
    expect(await outcome(old.send('Hello'))).toBe('session_deleted')
    const next = await session('k')
    expect(await answer(next.send('Hello'))).toBe('[turn 1] You said: Hello')
    expect(await outcome(old.send('Hello'))).toBe('session_deleted')
    await expect(old.info()).rejects.toThrow(SessionGoneError)
    await expect(old.warm()).rejects.toThrow(SessionGoneError)
    await expect(old.fork('x')).rejects.toThrow(SessionGoneError)
    await old.delete()
    expect((await next.info()).turns).toBe(1)
  })
})

describe('forking', () => {
  test('copies the conversation as it is now', async () => {
    const { session } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    const fork = await handle.fork('fork')
    expect(await answer(fork.send('From the fork'))).toBe('[turn 2] You said: From the fork')
    expect(await answer(handle.send('From the first'))).toBe('[turn 2] You said: From the first')
    expect(await fork.info()).toMatchObject({ key: 'fork', turns: 2 })
  })

  test('what has not begun begins anew', async () => {
    const { session } = await fakes()
    const fork = await (await session('k')).fork('fork')
    expect(await answer(fork.send('Hello'))).toBe('[turn 1] You said: Hello')
  })

  test('to a key that is taken is a conflict, and leaves nothing behind', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    await session('taken')
    await expect(handle.fork('taken')).rejects.toThrow(SessionConflictError)
    await expect(handle.fork('k')).rejects.toThrow(SessionConflictError)
    expect(driver.conversations.size).toBe(1)
  })

  test('twice to the same key gives it to one of them, and leaves nothing of the other behind', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    const forks = await Promise.allSettled([handle.fork('fork'), handle.fork('fork')])
    expect(forks.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(forks.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'session_conflict' } })
    expect(driver.conversations.size).toBe(2)
  })

  test('is refused at once while a turn runs', async () => {
    const { session, driver } = await fakes()
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const handle = await session('k')
    const turn = handle.send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    await expect(handle.fork('fork')).rejects.toMatchObject({ code: 'session_busy' })
    driver.processes[0]?.finish()
    await turn.result
  })

  test('what the agent has forgotten says so', async () => {
    const { session, driver } = await fakes()
    const handle = await session('k')
    await handle.send('Hello').result
    driver.conversations.clear()
    await expect(handle.fork('fork')).rejects.toMatchObject({ code: 'resume_failed' })
  })
})

describe('closing', () => {
  test('twice is one close', async () => {
    const { pool } = await fakes()
    const closing = pool.close()
    expect(pool.close()).toBe(closing)
    await closing
    await pool[Symbol.asyncDispose]()
  })

  test('ends turns, processes and starts, and keeps sessions', async () => {
    const store = new MemoryStore()
    const { pool, session, driver, reasons } = await fakes({ store })
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const running = (await session('running')).send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    driver.onStart = (process) => {
      process.readyAtOnce = false
    }
    const starting = (await session('starting')).send('Hello')
    const warming = (await session('warming')).warm()
    const warmed = warming.catch((error: unknown) => error)
    await driver.until(() => driver.processes.length === 3)
    await pool.close()
    expect(await warmed).toBeInstanceOf(PoolClosedError)
    expect([await outcome(running), await outcome(starting)]).toEqual(['pool_closed', 'pool_closed'])
    expect(driver.living).toEqual([])
    expect(new Set(reasons())).toEqual(new Set(['closed']))
    expect(await store.list({ limit: 1_000 })).toHaveLength(3)
  })

  test('refuses everything afterwards', async () => {
    const { pool, session } = await fakes()
    const handle = await session('k')
    await pool.close()
    expect(await outcome(handle.send('Hello'))).toBe('pool_closed')
    await expect(session('k')).rejects.toThrow(PoolClosedError)
    await expect(handle.warm()).rejects.toThrow(PoolClosedError)
    await expect(handle.info()).rejects.toThrow(PoolClosedError)
    await expect(pool.sessions()).rejects.toThrow(PoolClosedError)
    expect(() => pool.resume()).toThrow(PoolClosedError)
    expect(pool.stats().workers.total).toBe(0)
  })

  test('after draining lets running turns end, and takes no new ones', async () => {
    const { pool, session, driver } = await fakes()
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const handle = await session('k')
    const running = handle.send('Hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const drained = pool.drain()
    expect(await outcome((await session('other')).send('Too late'))).toBe('pool_closed')
    driver.processes[0]?.finish()
    expect(await outcome(running)).toBe('success')
    await drained
    expect(driver.living).toEqual([])
  })
})

test('a query is told of like a session that comes and stays, or goes if it is not to be kept', async () => {
  const { pool, told } = await fakes()
  for (const persistSession of [true, false])
    for await (const message of pool.query({ prompt: 'Hello', options: { persistSession } }))
      expect(message).toBeDefined()
  const [kept, gone] = told('session.created')
  expect(kept).toMatchObject({ session: { tenant: 'default', key: expect.stringMatching(/^query:/) } })
  expect([told('session.created'), told('session.deleted')]).toEqual([[kept, gone], [gone]])
})

test('a session that was cleared goes with all its conversations, also after a restart', async () => {
  const dataDir = await temporaryFolder()
  const store = new MemoryStore()
  const { pool, session, driver } = await fakes({ store, dataDir })
  const handle = await session('k')
  await handle.send('one').result
  const process = await driver.process(0)
  for (const id of ['second', 'third']) {
    driver.conversations.set(id, { turns: 0, prompts: [] })
    process.say({ type: 'system', subtype: 'init', session_id: id } as SDKMessage)
    await handle.send(id).result
  }
  expect((await handle.info()).sdkSessionId).toBe('third')
  expect(driver.conversations.size).toBe(3)
  await pool.close()
  const next = await fakes({ store, dataDir, driver })
  await (await next.pool.session('k')).delete()
  expect([...driver.conversations.keys()]).toEqual([])
  expect(await readdir(join(dataDir, 'tenants', 'default', 'earlier'))).toEqual([])
})
