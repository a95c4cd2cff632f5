import { existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Session } from '../../../src/index.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import { event } from '../../conformance/events.ts'
import { answer, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const DAY = 86_400_000

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'pool-upkeep-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A session that had a turn and has no process. */
async function used({ pool }: Fakes, key: string, options: { tenant?: string } = {}): Promise<Session> {
  const session = await pool.session(key, { agent: 'assistant', ...options })
  await session.send('Hello').result
  await session.hibernate()
  return session
}

const keys = async ({ pool }: Fakes): Promise<string[]> => (await pool.sessions()).map(({ key }) => key)

describe('retention', () => {
  test('removes by itself what nobody has used for its time, and says so', async () => {
    const setup = await fakes({ retention: { maxAge: '30s', interval: '2s' } })
    const expired: unknown[] = []
    setup.pool.on('session.expired', (event) => expired.push(event))
    await used(setup, 'old')
    const { cwd } = await (await setup.pool.session('old')).info()
    await setup.clock.advance(20_000)
    await used(setup, 'young')
    await setup.clock.advance(12_500)
    await vi.waitFor(() => expect(expired).toHaveLength(1))
    expect(await keys(setup)).toEqual(['young'])
    expect(expired).toMatchObject([{ tenant: 'default', key: 'old', agent: 'assistant', reason: 'age' }])
    expect(setup.told('session.deleted')).toHaveLength(1)
    expect(existsSync(cwd ?? '')).toBe(false)
  })

  test('never touches a session that has a process', async () => {
    const setup = await fakes({ retention: { maxSessions: 1 } })
    const live = await setup.session('live')
    await live.send('Hello').result
    await setup.clock.advance(1_000)
    await used(setup, 'a')
    await setup.clock.advance(1_000)
    await used(setup, 'b')
    const { sessions } = await setup.pool.prune()
    expect(sessions.map(({ key }) => key)).toEqual(['a', 'b'])
    expect(await answer(live.send('And again'))).toBe('[turn 2] You said: And again')
  })

  test('only says what it would do in a dry run', async () => {
    const setup = await fakes({ retention: { maxSessions: 1 } })
    await used(setup, 'a')
    await setup.clock.advance(1)
    await used(setup, 'b')
    expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ sessions: [{ key: 'a', reason: 'count' }] })
    expect(await keys(setup)).toEqual(['a', 'b'])
    expect(setup.told('session.deleted')).toEqual([])
  })

  test('removes a bounded number at a time, and goes on', async () => {
    const store = new MemoryStore()
    const setup = await fakes({ store, retention: { maxSessions: 1 } })
    for (let index = 0; index < 250; index += 1) await setup.session(`k${String(index).padStart(3, '0')}`)
    expect(await setup.pool.prune()).toMatchObject({ more: true, sessions: { length: 200 } })
    expect(await setup.pool.prune()).toMatchObject({ more: false, sessions: { length: 49 } })
    expect(await store.count()).toBe(1)
  })

  test('goes by what sessions take on disk', async () => {
    const setup = await fakes({ retention: { maxSize: '1MiB' } })
    for (const key of ['a', 'b', 'c']) {
      const { cwd = '' } = await (await used(setup, key)).info()
      writeFileSync(join(cwd, 'data'), Buffer.alloc(400 * 1024))
      await setup.clock.advance(1_000)
    }
    expect((await setup.pool.prune()).sessions).toMatchObject([
      { key: 'a', reason: 'size', bytes: expect.closeTo(400 * 1024, -4) },
    ])
    expect(await keys(setup)).toEqual(['b', 'c'])
  })

  test('trims the events of sessions that stay, by number and by age', async () => {
    const store = new MemoryStore()
    const setup = await fakes({ store, retention: { maxEvents: 10, maxEventAge: '1m' } })
    await setup.session('k')
    const { uid = '' } = (await store.get('default', 'k')) ?? {}
    const now = setup.clock.wall()
    const { last } = await store.eventTotals(uid)
    const add = (from: number, count: number, at: number): Promise<void> =>
      store.appendEvents(
        uid,
        Array.from({ length: count }, (_, index) => ({ ...event(from + index), at })),
      )
    await add(last + 1, 30, now)
    expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ events: last + 20 })
    await setup.pool.prune()
    expect(await store.eventTotals(uid)).toMatchObject({ first: last + 21, last: last + 30 })
    await setup.clock.advance(120_000)
    await add(last + 31, 3, setup.clock.wall())
    await setup.pool.prune()
    expect(await store.eventTotals(uid)).toMatchObject({ first: last + 31, last: last + 33 })
    await setup.clock.advance(120_000)
    await setup.pool.prune()
    expect(await store.eventTotals(uid)).toMatchObject({ first: last + 33, last: last + 33 })
  })

  test('removes workspaces that nobody knows, when they are old', async () => {
    const dataDir = await folder()
    const setup = await fakes({ dataDir, retention: { leftovers: '7d' } })
    const { cwd = '' } = await (await used(setup, 'k')).info()
    const workspaces = join(cwd, '..')
    for (const name of ['old', 'young']) mkdirSync(join(workspaces, name))
    const ago = (days: number): Date => new Date(setup.clock.wall() - days * DAY)
    for (const [name, days] of [
      ['old', 8],
      ['young', 6],
    ] as const)
      utimesSync(join(workspaces, name), ago(days), ago(days))
    utimesSync(cwd, ago(30), ago(30))
    await setup.pool.prune()
    expect((await readdir(workspaces)).toSorted()).toEqual([cwd.slice(workspaces.length + 1), 'young'].toSorted())
  })
})

describe('an exported session', () => {
  async function exported({ pool }: Fakes, key: string, options = {}): Promise<string[]> {
    const lines: string[] = []
    for await (const line of pool.exportSession(key, options)) lines.push(line)
    return lines
  }

  async function* from(lines: readonly string[]): AsyncGenerator<string> {
    yield* lines
  }

  test('comes back with its record, events and workspace, under its key or another', async () => {
    const there = await fakes()
    const { cwd = '', turns, usage } = await (await used(there, 'k', { tenant: 't' })).info()
    writeFileSync(join(cwd, 'empty'), '')
    mkdirSync(join(cwd, 'deep'))
    writeFileSync(join(cwd, 'deep', 'large'), Buffer.alloc(3 * 1024 * 1024, 7), { mode: 0o755 })
    symlinkSync('deep/large', join(cwd, 'link'))
    const lines = await exported(there, 'k', { tenant: 't' })
    const store = new MemoryStore()
    const here = await fakes({ store, driver: there.driver })
    const session = await here.pool.importSession(from(lines), { key: 'other' })
    const info = await session.info()
    expect(info).toMatchObject({ tenant: 't', key: 'other', turns, usage, state: 'hibernated' })
    expect(info.cwd).not.toBe(cwd)
    expect(readFileSync(join(info.cwd ?? '', 'link')).equals(Buffer.alloc(3 * 1024 * 1024, 7))).toBe(true)
    expect(readFileSync(join(info.cwd ?? '', 'empty'), 'utf8')).toBe('')
    expect(await answer(session.send('Still there?'))).toBe('[turn 2] You said: Still there?')
    const { uid = '' } = (await store.get('t', 'other')) ?? {}
    const events = lines.flatMap((line) => ('event' in JSON.parse(line) ? [JSON.parse(line).event.id] : []))
    expect((await store.readEvents(uid, { limit: 1_000 })).map(({ id }) => id).slice(0, events.length)).toEqual(events)
  })

  test('without its workspace leaves that behind', async () => {
    const setup = await fakes()
    const { cwd = '' } = await (await used(setup, 'k')).info()
    writeFileSync(join(cwd, 'secret-file'), 'x')
    expect((await exported(setup, 'k', { workspace: false })).join('')).not.toContain('secret-file')
  })

  test.each([
    ['that is not there', 'none', 'session_not_found'],
    ['that runs a turn', 'busy', 'session_busy'],
  ])('cannot be had of one %s', async (_which, key, code) => {
    const setup = await fakes()
    setup.driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const busy = await setup.session('busy')
    busy.send('Hello')
    await expect(exported(setup, key)).rejects.toMatchObject({ code })
  })

  test('does not replace a session that is here', async () => {
    const setup = await fakes()
    await used(setup, 'k')
    const lines = await exported(setup, 'k')
    await expect(setup.pool.importSession(from(lines), { key: 'copy' })).rejects.toMatchObject({
      code: 'session_conflict',
      message: expect.stringContaining('delete its session first'),
    })
    const other = await fakes()
    await used(other, 'k')
    await expect(other.pool.importSession(from(lines))).rejects.toMatchObject({
      code: 'session_conflict',
      message: expect.stringContaining('another key'),
    })
    expect(await answer((await other.pool.session('k')).send('Hi'))).toBe('[turn 2] You said: Hi')
  })

  test.each([
    ['nothing', () => [], 'no exported session'],
    ['something else', () => ['{"hello":"world"}\n'], 'no exported session'],
    ['one of a later release', ([first = '']: string[]) => [first.replace('"version":1', '"version":9')], 'newer'],
    ['one that was cut short', (lines: string[]) => lines.slice(0, -1), 'before its end'],
    ['one with a line missing', (lines: string[]) => lines.toSpliced(1, 1), 'lines and has'],
    ['one with a bad line', (lines: string[]) => lines.toSpliced(1, 1, '{"file":'), 'line 2 is damaged'],
    [
      'one that would write elsewhere',
      (lines: string[]) =>
        lines.toSpliced(1, 0, JSON.stringify({ file: { in: 'workspace', name: '../../x', mode: 384, data: '' } })),
      'outside of the session',
    ],
  ])('is refused when it is %s, and leaves nothing', async (_what, spoil, words) => {
    const there = await fakes()
    const { cwd = '' } = await (await used(there, 'k')).info()
    writeFileSync(join(cwd, 'file'), 'x')
    const lines = await exported(there, 'k')
    const dataDir = await folder()
    const here = await fakes({ dataDir })
    await expect(here.pool.importSession(from(spoil(lines)))).rejects.toMatchObject({
      name: 'ArchiveError',
      code: 'bad_archive',
      message: expect.stringContaining(words),
    })
    expect(await keys(here)).toEqual([])
    const left = await readdir(dataDir, { recursive: true })
    expect(left.filter((name) => /workspaces\//.test(name))).toEqual([])
  })
})

describe('erasing a tenant', () => {
  test('ends what runs for it and removes all of it, and nothing of others', async () => {
    const dataDir = await folder()
    const setup = await fakes({ dataDir })
    const { pool } = setup
    for (const tenant of ['t', 'u']) for (const key of ['a', 'b']) await used(setup, key, { tenant })
    const live = await pool.session('live', { agent: 'assistant', tenant: 't' })
    await live.send('Hello').result
    setup.driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const running = (await pool.session('running', { agent: 'assistant', tenant: 't' })).send('Hello')
    await setup.driver.until(() => setup.driver.processes.at(-1)?.unanswered === 1)
    const erased = pool.eraseTenant('t')
    await expect(pool.session('new', { agent: 'assistant', tenant: 't' })).rejects.toMatchObject({
      code: 'session_deleted',
    })
    await erased
    await expect(running.result).rejects.toMatchObject({ code: 'session_deleted' })
    expect((await pool.sessions()).map(({ tenant, key }) => `${tenant}/${key}`)).toEqual(['u/a', 'u/b'])
    expect(setup.driver.living.length).toBe(0)
    expect(await readdir(join(dataDir, 'tenants'))).toEqual(['u'])
    const anew = await pool.session('a', { agent: 'assistant', tenant: 't' })
    expect((await anew.info()).turns).toBe(0)
  })
})
