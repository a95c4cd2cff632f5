import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { nodeCalls } from '../../../src/files/calls.ts'
import type { FileCalls } from '../../../src/files/calls.ts'
import { Problems } from '../../../src/files/problem.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { FakeClock } from '../../../src/testing/index.ts'
import { hostileFolder } from '../../fixtures/hostile-tree.ts'

let base: string
let clock: FakeClock
/** Calls that hang until they are let go, by the path that they are about. */
let hanging: { path: string; release: () => void }[]
let hangs: boolean
let running: number
let most: number

/** The calls of Node, which hang for paths of tenants whose names begin so. */
function callsThatHang(): FileCalls {
  return {
    ...nodeCalls,
    open: async (path, flags, mode) => {
      running += 1
      most = Math.max(most, running)
      if (hangs && /\/hung[^/]*$/.test(String(path)))
        await new Promise<void>((resolve) => hanging.push({ path: String(path), release: resolve }))
      const fd = await nodeCalls.open(path, flags, mode)
      running -= 1
      return fd
    },
  }
}

const filesOf = (bounds: object = {}): TenantFiles => new TenantFiles(base, { clock, calls: callsThatHang(), bounds })

/** Waits until so many calls hang, and everything that can go on has. */
async function untilHanging(count: number): Promise<void> {
  while (hanging.length < count) await new Promise((resolve) => setImmediate(resolve))
}

beforeEach(() => {
  base = join(hostileFolder(), 'tenants')
  for (const tenant of ['hung-1', 'hung-2', 'fine']) {
    mkdirSync(join(base, tenant), { recursive: true })
    writeFileSync(join(base, tenant, 'file'), tenant)
  }
  clock = new FakeClock()
  hanging = []
  hangs = true
  running = 0
  most = 0
})

const tooSlow = { name: 'FilesError', code: 'files_failed', problems: [{ reason: 'too_slow' }] }

test('a call that hangs fails by its time, its tenant waits for nothing meanwhile, and others go on', async () => {
  const files = filesOf()
  const reading = files.text(join(base, 'hung-1', 'file'), 100)
  const failed = reading.catch((error: unknown) => error)
  await untilHanging(1)
  await clock.advance(30_000)
  expect(await failed).toMatchObject(tooSlow)
  await expect(files.text(join(base, 'hung-1', 'file'), 100)).rejects.toMatchObject(tooSlow)
  expect(await files.text(join(base, 'fine', 'file'), 100)).toBe('fine')
  hangs = false
  hanging[0]?.release()
  while (running > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await files.text(join(base, 'hung-1', 'file'), 100)).toBe('hung-1')
})

test('all tenants together have two calls at a time; more wait, and a wait ends by its time, too', async () => {
  const files = filesOf()
  const works = ['hung-1', 'hung-2'].map((tenant) =>
    files.text(join(base, tenant, 'file'), 100).catch((error: unknown) => error),
  )
  await untilHanging(2)
  const waiting = files.text(join(base, 'fine', 'file'), 100).catch((error: unknown) => error)
  await clock.advance(30_000)
  for (const error of await Promise.all([...works, waiting])) expect(error).toMatchObject(tooSlow)
  expect(most).toBe(2)
  for (const { release } of hanging) release()
  while (running > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await files.text(join(base, 'fine', 'file'), 100)).toBe('fine')
})

test('after a halt of the whole process an answer that is there is taken, not its time', async () => {
  const files = filesOf()
  const reading = files.text(join(base, 'hung-1', 'file'), 100)
  await untilHanging(1)
  hanging[0]?.release()
  // The clock jumps before anything that has come meanwhile is looked at.
  void clock.advance(3_600_000)
  expect(await reading).toBe('hung-1')
})

test('work that goes on and on ends by its time as a whole', async () => {
  const files = filesOf({ totalMs: 1_000 })
  const problems = new Problems()
  const counting = files.size(join(base, 'hung-1'), problems)
  await untilHanging(1)
  await clock.advance(1_000)
  hanging[0]?.release()
  await counting
  expect(problems.found).toMatchObject([{ reason: 'too_slow' }])
})
