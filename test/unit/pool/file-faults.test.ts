import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { FileCalls } from '../../../src/files/calls.ts'
import { PoolError } from '../../../src/index.ts'
import type { Pool, Session } from '../../../src/index.ts'
import { FakeClock, MemoryStore } from '../../../src/testing/index.ts'
import { FileDriver, transcriptOf, writeTranscript } from '../../fixtures/file-driver.ts'
import { exported, from } from '../../fixtures/file-work.ts'
import { NO_SPARES, fakes, used } from '../../fixtures/fakes.ts'
import { hostileFolder } from '../../fixtures/hostile-tree.ts'

/** Decides what fails. Shared with the calls that take the place of Node's. */
const faults = vi.hoisted(() => ({
  /** The calls that were made, since it was emptied. */
  made: [] as string[],
  /** The code with which this call of that name fails, from 0. */
  failing: undefined as { name: string; index: number; code: string } | undefined,
}))

vi.mock(import('../../../src/files/calls.ts'), async (original) => {
  const module = await original()
  const nodeCalls = new Proxy(module.nodeCalls, {
    get(calls, name: keyof FileCalls) {
      if (name === 'mountOf' || name === 'drop') return calls[name]
      return async (...args: unknown[]) => {
        const index = faults.made.filter((made) => made === name).length
        faults.made.push(name)
        const { failing } = faults
        if (failing?.name === name && (failing.index === index || failing.index === -1)) {
          // As the system does it: a file is closed also where that fails.
          if (name === 'close') await (calls[name] as (fd: unknown) => Promise<void>)(args[0])
          throw Object.assign(new Error(`${failing.code}: as the test says, ${name}`), { code: failing.code })
        }
        return (calls[name] as (...args: unknown[]) => unknown)(...args)
      }
    },
  })
  return { ...module, nodeCalls }
})

const CODES = ['EACCES', 'EIO', 'ENOSPC', 'EROFS', 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EMFILE', 'EBUSY']

/** By hand: `FAULTS=all` lets every single call fail. Without, so many of each name from the first one on. */
const ALL = process.env['FAULTS'] === 'all'
const FIRST = 2

afterEach(() => {
  faults.failing = undefined
})

interface Scene {
  pool: Pool
  session: Session
  key: string
  dataDir: string
  archive: string[]
  /** What has to go with the session. */
  files: string[]
}

const left = ({ files }: Scene): string[] => files.filter((path) => existsSync(path))

/** Every public method that works with files, and the calls that it makes. */
const METHODS: Record<string, (scene: Scene) => Promise<unknown>> = {
  'pool.session, session.send': async ({ pool }) =>
    (await pool.session(randomUUID(), { agent: 'assistant' })).send('Hello').result,
  'session.send, resumed': ({ session }) => session.send('Again').result,
  'session.warm': ({ session }) => session.warm(),
  'session.fork': ({ session }) => session.fork(randomUUID()),
  'session.delete': ({ session }) => session.delete(),
  'pool.query': async ({ pool, dataDir }) => {
    const left: unknown[] = []
    const note = ({ error }: { error: unknown }): void => void left.push(error)
    pool.on('warning', note)
    const query = pool.query({ prompt: 'Hello', options: { cwd: dataDir, persistSession: false } })
    while ((await query.next()).done !== true) continue
    pool.off('warning', note)
    // Its answer has been given: what could not be removed is a warning.
    if (left.length > 0) throw left[0]
  },
  'pool.exportSession': ({ pool, key }) => exported(pool, key),
  'pool.importSession': ({ pool, archive }) => pool.importSession(from(archive), { key: randomUUID() }),
  'pool.prune': ({ pool }) => pool.prune(),
  'pool.backup': ({ pool, dataDir }) => pool.backup(join(dataDir, '..', randomUUID())),
  'pool.eraseTenant': ({ pool }) => pool.eraseTenant('default'),
}

async function scenes(): Promise<() => Promise<Scene>> {
  const dataDir = join(hostileFolder(), 'data')
  const clock = new FakeClock()
  const driver = new FileDriver(clock, dataDir)
  const store = Object.assign(new MemoryStore(), { backup: async (path: string) => writeFileSync(path, '') })
  const setup = await fakes({
    dataDir,
    driver,
    clock,
    store,
    agents: { assistant: NO_SPARES },
    retention: { maxSessions: 1, maxSize: '1GiB', leftovers: '1d' },
    transcripts: 'store',
  })
  const { pool } = setup
  const tenantDir = join(dataDir, 'tenants', 'default')
  let count = 0
  return async () => {
    count += 1
    const key = `k${count}`
    const session = await used(setup, key)
    const { cwd = '', sdkSessionId: id = '' } = await session.info()
    const transcript = transcriptOf(tenantDir, { cwd, id })
    writeTranscript(transcript, id)
    mkdirSync(join(cwd, 'inner'))
    writeFileSync(join(cwd, 'inner', 'file'), 'content')
    mkdirSync(join(tenantDir, 'tmp', 'claude-0', '-work', id), { recursive: true })
    // Another conversation than that of any session here.
    const lines = await exported(pool, key)
    const other = randomUUID()
    const archive = lines.map((line) => line.replaceAll(id, other))
    return { pool, session, key, dataDir, archive, files: [cwd, transcript] }
  }
}

describe.each(Object.entries(METHODS))('%s', (title, method) => {
  const again = ({ pool, session }: Scene): Promise<void> =>
    title === 'pool.eraseTenant' ? pool.eraseTenant('default') : session.delete()

  test(
    'fails by a PoolError with a code, or not at all, whatever call of the file system fails in whatever way',
    { timeout: ALL ? 3_600_000 : 120_000 },
    async () => {
      const next = await scenes()
      faults.made.length = 0
      const first = await next()
      faults.made.length = 0
      await method(first)
      const calls = new Map<string, number>()
      for (const name of faults.made) calls.set(name, (calls.get(name) ?? 0) + 1)
      const wrong: unknown[] = []
      let failed = 0
      let cases = 0
      for (const [name, count] of calls) {
        const each = Array.from({ length: count }, (_, index) => index)
        // The first ones, the last one, and all of that name.
        const indices = [...(ALL ? each : new Set([...each.slice(0, FIRST), count - 1])), -1]
        for (const [at, index] of indices.entries()) {
          const code = CODES[(at + cases) % CODES.length] ?? 'EIO'
          cases += 1
          const scene = await next()
          faults.made.length = 0
          faults.failing = { name, index, code }
          await method(scene).catch((error: unknown) => {
            failed += 1
            const isNamed = error instanceof PoolError && typeof error.code === 'string' && error.message !== ''
            if (!isNamed) wrong.push({ name, index, code, error })
          })
          faults.failing = undefined
          // What failed can be done again, and a deletion that says so has left nothing.
          await again(scene).catch((error: unknown) => wrong.push({ name, index, code, again: error }))
          if (left(scene).length > 0) wrong.push({ name, index, code, left: left(scene) })
        }
      }
      expect(wrong).toEqual([])
      expect(failed).toBeGreaterThan(0)
    },
  )
})

test('no other public method works with files', async () => {
  const { pool, session, key } = await (await scenes())()
  faults.made.length = 0
  await session.info()
  await session.append([])
  await session.history({ after: 0, limit: 10 })
  await session.interrupt()
  await session.hibernate()
  await session.changeAgent('assistant')
  await pool.sessions()
  await pool.storedBytes()
  await pool.ready()
  pool.suspend()
  pool.resume()
  pool.defineAgent('other', {})
  pool.updateAgents({ assistant: NO_SPARES })
  pool.forgetAgent('other')
  const looked = [pool.runningSessions(), pool.agentOptions('assistant'), pool.workers(), pool.stats()]
  expect([key, looked.length, faults.made]).toEqual([session.key, 4, []])
})
