import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MemoryStore } from '../../../src/testing/index.ts'
import { answer, fakes, keys, used } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

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
    const dataDir = await temporaryFolder()
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
    const dataDir = await temporaryFolder()
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
