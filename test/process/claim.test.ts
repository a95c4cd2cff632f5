import { mkdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { TenantFiles } from '../../src/files/tenant-files.ts'
import { ClaudeDriver } from '../../src/driver/claude.ts'
import { findClaudeExecutable } from '../../src/driver/executable.ts'
import type { AgentProcess } from '../../src/driver/driver.ts'
import type { AgentOptions, Pool } from '../../src/index.ts'
import { asked, event, MODEL, openSite, record, say } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

/** A pool that has unbound one process for conversations in directories of their callers. */
async function parkedPool(site: Site, options: AgentOptions = {}): Promise<{ pool: Pool; pid: number }> {
  const pool = await site.pool({
    agents: { a: { model: MODEL, spares: { max: 0 }, unboundSpares: { min: 1, max: 1 }, ...options } },
  })
  const { worker } = await event(pool, 'worker.ready')
  return { pool, pid: worker.pid ?? 0 }
}

test.runIf(WHOLE)(
  'A directory that went away before the claim fails the turn before anything was sent, and serves when it is back',
  async () => {
    const site = await openSite()
    const cwd = await site.directory('project')
    const { pool } = await parkedPool(site)
    const session = await pool.session('one', { agent: 'a', cwd })
    await rm(cwd, { recursive: true })
    const refused = event(pool, 'worker.closed')
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'StartError',
      phase: 'spawn',
      message: expect.stringContaining(`${cwd} does not exist any more; make it again`),
    })
    expect(await refused).toMatchObject({ reason: 'bind_refused' })
    expect(asked(site, 'first')).toEqual([])
    await mkdir(cwd)
    expect((await say(session, 'second')).text).toBe('[turn 1] You said: second')
    expect((await session.info()).cwd).toBe(cwd)
  },
)

test('A directory whose own settings an unbound process cannot take gets a plain start, with the prompt run once', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  await mkdir(join(cwd, '.claude'))
  await writeFile(join(cwd, '.claude', 'settings.json'), JSON.stringify({ env: { FROM_PROJECT: 'yes' } }))
  const { pool } = await parkedPool(site, { settingSources: ['project'], allowedTools: ['Bash'] })
  const departures = record(pool, 'worker.closed')
  const session = await pool.session('one', { agent: 'a', cwd })
  const { text, warmth } = await say(session, 'first')
  expect(text).toBe('[turn 1] You said: first')
  expect(asked(site, 'first')).toHaveLength(1)
  const refused = departures.some(({ reason }) => reason === 'bind_refused')
  expect(warmth).toBe(refused ? 'cold' : 'spare')
})

test('An unbound process that dies as it is claimed gives way to a plain start, with the prompt run once', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const { pool, pid } = await parkedPool(site)
  const session = await pool.session('one', { agent: 'a', cwd })
  const gone = event(pool, 'worker.closed', ({ worker }) => worker.pid === pid)
  process.kill(pid, 'SIGKILL')
  expect(await say(session, 'first')).toEqual({ text: '[turn 1] You said: first', warmth: 'cold' })
  expect(await gone).toMatchObject({ exit: { signal: 'SIGKILL' } })
  expect(asked(site, 'first')).toHaveLength(1)
})

test.runIf(WHOLE)('A directory that is reached by a link is one place for claim and resume', async () => {
  const site = await openSite()
  const target = await site.directory('target')
  const link = join(site.root, 'link')
  await symlink(target, link)
  const { pool } = await parkedPool(site, { allowedTools: ['Bash'] })
  const session = await pool.session('one', { agent: 'a', cwd: link })
  expect(await say(session, '@sim bash pwd -P')).toMatchObject({
    text: `[turn 1] tool said: ${await realpath(target)}`,
    warmth: 'spare',
  })
  await session.hibernate()
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

/** An unbound process of the driver, without a pool. */
async function park(site: Site): Promise<AgentProcess> {
  const home = await site.directory('home')
  const driver = new ClaudeDriver({
    files: new TenantFiles(site.dataDir),
    clock: systemClock,
    runDir: join(site.root, 'run'),
    spoolDir: join(site.root, 'spool'),
    spoolLimitBytes: 2 ** 20,
  })
  const claude = findClaudeExecutable()
  const started = driver.start({
    workerId: 'w-parked',
    options: {
      model: MODEL,
      settingSources: [],
      ...(claude === undefined ? {} : { pathToClaudeCodeExecutable: claude }),
    },
    cwd: home,
    tmpDir: home,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: home,
      CLAUDE_CONFIG_DIR: join(home, 'config'),
      ANTHROPIC_BASE_URL: site.simulator.url,
      ANTHROPIC_API_KEY: 'simulated',
    },
    conversation: { kind: 'unbound' },
    initializeTimeoutMs: 30_000,
  })
  onTestFinished(() => started.terminate({ eofMs: 2_000, sigtermMs: 2_000 }).then(() => undefined))
  await started.ready
  return started
}

test.each([
  ['does not exist', 'missing', 'cwd_not_found'],
  ['is a file', 'file', 'cwd_not_a_directory'],
])('A claim of a directory that %s is refused by name, and the process goes', async (_, name, reason) => {
  const site = await openSite()
  await writeFile(join(site.root, 'file'), '')
  const parked = await park(site)
  await expect(parked.bind(join(site.root, name))).rejects.toMatchObject({ name: 'BindRefusedError', reason })
  await parked.terminate({ eofMs: 2_000, sigtermMs: 2_000 })
  expect(await parked.exited).toMatchObject({ signal: null })
  expect(parked.alive).toBe(false)
})

test.runIf(WHOLE)('A claim of a process that was told to go is refused', async () => {
  const site = await openSite()
  const parked = await park(site)
  await parked.terminate({ eofMs: 2_000, sigtermMs: 2_000 })
  await expect(parked.bind(site.root)).rejects.toMatchObject({ name: 'BindRefusedError' })
})
