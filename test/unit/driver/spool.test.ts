import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Spool } from '../../../src/driver/spool.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-spool-'))
  path = join(folder, 'spool', 'w-1.jsonl')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

test('what was written first is read first, and with the last of it the file goes', async () => {
  const spool = new Spool(path, 1_000_000)
  expect(await spool.read()).toBeUndefined()
  await spool.write(Buffer.from('one '))
  await spool.write(Buffer.from('two '))
  expect(spool.pendingBytes).toBe(8)
  expect((await spool.read())?.toString()).toBe('one two ')
  expect(existsSync(path)).toBe(false)
  await spool.write(Buffer.from('three'))
  expect((await spool.read())?.toString()).toBe('three')
  expect(spool.pendingBytes).toBe(0)
  expect(existsSync(path)).toBe(false)
})

test('much is read back piece by piece', async () => {
  const spool = new Spool(path, 1_000_000)
  const bytes = Buffer.alloc(150_000, 'x')
  await spool.write(bytes)
  const pieces: number[] = []
  while (spool.pendingBytes > 0) pieces.push((await spool.read())?.length ?? 0)
  expect(pieces).toEqual([64 * 1024, 64 * 1024, 150_000 - 128 * 1024])
})

test('it is full until it was read back whole', async () => {
  const spool = new Spool(path, 100_000)
  await spool.write(Buffer.alloc(100_000))
  expect(spool.full).toBe(true)
  await spool.read()
  expect(spool.full).toBe(true)
  await spool.read()
  expect(spool.full).toBe(false)
})

test('its file is for its owner only', async () => {
  const spool = new Spool(path, 1_000_000)
  await spool.write(Buffer.from('secret'))
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(join(folder, 'spool'))).mode & 0o777).toBe(0o700)
  await spool.close()
})

test('closing gives up what it holds, and twice is harmless', async () => {
  const spool = new Spool(path, 1_000_000)
  await spool.write(Buffer.from('unread'))
  await spool.close()
  await spool.close()
  expect(existsSync(path)).toBe(false)
  expect(spool.pendingBytes).toBe(0)
})

test('a file that was cut short by somebody else is an error, not an endless loop', async () => {
  const spool = new Spool(path, 1_000_000)
  await spool.write(Buffer.from('x'))
  const { truncate } = await import('node:fs/promises')
  await truncate(path, 0)
  await expect(spool.read()).rejects.toThrow('ends 1 bytes early')
  await spool.close()
})
