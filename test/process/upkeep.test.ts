import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isWritten, MODEL, modelAsked, openSite, say, transcripts } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const agents = {
  a: { model: MODEL, verbatimPrompts: false, allowedTools: ['Bash'], spares: { max: 0 }, unboundSpares: { max: 0 } },
}

/** Paths below a folder that have this in their name or content, relative to it. */
async function mentions(folder: string, words: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const text = entry.isFile() ? await readFile(path, 'latin1').catch(() => '') : ''
    if (entry.name.includes(words) || text.includes(words)) found.push(path.slice(folder.length + 1))
  }
  return found
}

test('An exported session goes on in another data directory, with all that it knew', async () => {
  const site = await openSite()
  const there = await site.pool({ agents })
  const session = await there.session('one', { agent: 'a' })
  await say(session, 'first\n@sim bash echo kept > file')
  await say(session, 'second')
  await session.hibernate()
  const before = await session.info()
  const here = await site.pool({ agents, dataDir: join(site.root, 'elsewhere') })
  const arrived = await here.importSession(there.exportSession('one'))
  await there.close()
  expect(await say(arrived, 'third\n@sim bash cat file')).toMatchObject({ warmth: 'resumed' })
  expect((await say(arrived, 'fourth')).text).toBe('[turn 4] You said: fourth')
  const { cwd = '', usage } = await arrived.info()
  expect(await readFile(join(cwd, 'file'), 'utf8')).toBe('kept\n')
  expect(usage.inputTokens).toBeGreaterThan(before.usage.inputTokens)
  expect(usage.estimated).toBe(false)
})

test.runIf(WHOLE)('A backup that was made while a turn ran takes the place of the data directory', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first\n@sim bash echo kept > file')
  await isWritten(site, 'first')
  const busy = await pool.session('busy', { agent: 'a' })
  await say(busy, 'before')
  const turn = busy.send('during\n@sim silence')
  await modelAsked(site, 'during')
  const backup = join(site.root, 'backup')
  await pool.backup(backup)
  await expect(pool.backup(backup)).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringContaining('exists'),
  })
  await say(session, 'lost')
  await pool.close()
  await expect(turn.result).rejects.toMatchObject({ code: 'pool_closed' })
  await rm(site.dataDir, { recursive: true })
  await rename(backup, site.dataDir)
  const restored = await site.pool({ agents })
  const again = await restored.session('one')
  expect((await again.info()).turns).toBe(1)
  expect((await say(again, 'second\n@sim bash cat file')).warmth).toBe('resumed')
  expect((await say(again, 'third')).text).toBe('[turn 3] You said: third')
  expect((await say(await restored.session('busy'), 'after')).text).toMatch(/You said: after$/)
  expect(existsSync(`${backup}.partial`)).toBe(false)
})

test('A deleted session leaves nothing under its name, whatever conversations it had', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents })
  const session = await pool.session('one-of-a-kind', { agent: 'a' })
  await say(session, 'first\n@sim bash echo hello')
  const { sdkSessionId: first = '' } = await session.info()
  await session.send('/clear').result
  await say(session, 'second\n@sim bash echo hello')
  await session.hibernate()
  const { sdkSessionId: second = '' } = await session.info()
  const config = join(site.dataDir, 'tenants', 'default')
  for (const id of [first, second]) expect((await mentions(config, id)).length).toBeGreaterThan(0)
  await session.delete()
  // The CLI's own lists of directories in which it has run are shared by all sessions of a tenant.
  const shared = /^config\/(\.claude\.json|backups\/|plugins\/store\/)/
  for (const id of [first, second, 'one-of-a-kind'])
    expect((await mentions(config, id)).filter((path) => !shared.test(path))).toEqual([])
})

test('An erased tenant leaves nothing at all', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents })
  for (const key of ['one', 'two'])
    await say(await pool.session(key, { agent: 'a', tenant: 'acme' }), `words of ${key}`)
  const other = await pool.session('three', { agent: 'a', tenant: 'other' })
  await say(other, 'words of three')
  await pool.eraseTenant('acme')
  expect(pool.workers().map(({ tenant }) => tenant)).toEqual(['other'])
  expect(await readdir(join(site.dataDir, 'tenants'))).toEqual(['other'])
  expect(await pool.sessions({ tenant: 'acme' })).toEqual([])
  expect((await say(other, 'again')).warmth).toBe('live')
  await pool.close()
  expect(await mentions(site.dataDir, 'words of one')).toEqual([])
})

test('Transcripts and notes that no session knows go when they are old', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents, retention: { leftovers: '1d' } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  const [transcript = ''] = await transcripts(site.dataDir)
  const folder = join(transcript, '..')
  const config = join(site.dataDir, 'tenants', 'default', 'config')
  await mkdir(join(config, 'todos'), { recursive: true })
  const ids = { old: randomUUID(), young: randomUUID() }
  const paths = Object.values(ids).flatMap((id) => [
    join(folder, `${id}.jsonl`),
    join(config, 'todos', `${id}-agent.json`),
  ])
  for (const path of paths) await writeFile(path, '{}')
  const long = new Date(Date.now() - 2 * 86_400_000)
  for (const path of [...paths.filter((path) => path.includes(ids.old)), transcript]) await utimes(path, long, long)
  expect(await pool.prune({ dryRun: true })).toMatchObject({ leftovers: 2 })
  expect(paths.every((path) => existsSync(path))).toBe(true)
  await pool.prune()
  expect(paths.map((path) => existsSync(path))).toEqual([false, false, true, true])
  expect((await say(session, 'second')).text).toBe('[turn 2] You said: second')
})

test('What the CLI notes under the names of a session’s conversations counts for its size', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents, retention: { maxSize: '1MiB' } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { sdkSessionId: before } = await session.info()
  await session.send('/clear').result
  await say(session, 'second')
  await session.hibernate()
  const { sdkSessionId: now } = await session.info()
  expect(now).not.toBe(before)
  const notes = join(site.dataDir, 'tenants', 'default', 'config', 'notes')
  await mkdir(notes, { recursive: true })
  expect(await pool.prune({ dryRun: true })).toMatchObject({ sessions: [] })
  for (const id of [before, now]) await writeFile(join(notes, `${id}.json`), Buffer.alloc(600 * 1024))
  expect(await pool.prune({ dryRun: true })).toMatchObject({ sessions: [{ key: 'one', reason: 'size' }] })
})
