import { expect, test } from 'vitest'
import { PoolEmitter } from '../../../src/events.ts'
import { DiskUse } from '../../../src/maintenance/disk-use.ts'
import type { SessionPage, SessionRecord } from '../../../src/store/store.ts'
import { FakeClock, MemoryStore } from '../../../src/testing/index.ts'
import { record } from '../../conformance/sessions.ts'

/** A store with sessions of these tenants, whose files have as many bytes as is said. */
async function counted(
  tenants: readonly string[],
  sizes: Record<string, number | Error>,
  list?: (page: SessionPage) => SessionRecord[],
) {
  const clock = new FakeClock()
  const store = new MemoryStore()
  const owner = await store.register('here')
  for (const tenant of tenants)
    for (const key of ['a', 'b', 'c']) await store.create(record(tenant, key, { uid: `${tenant} ${key}` }), owner)
  const asked: string[] = []
  const sizeOf = async (tenant: string): Promise<number> => {
    asked.push(tenant)
    const size = sizes[tenant] ?? 0
    if (size instanceof Error) throw size
    return size
  }
  const emitter = new PoolEmitter()
  const warnings: unknown[] = []
  emitter.on('warning', ({ message }) => warnings.push(message))
  const listed = list === undefined ? store : { list: async (page: SessionPage) => list(page) }
  const use = new DiskUse({ clock, store: listed, files: { sizeOf }, emitter })
  return { clock, use, asked, warnings }
}

test('Each tenant is counted once, however many sessions it has, and shown from the next call on', async () => {
  const { clock, use } = await counted(['b', 'a', 'a/b'], { a: 10, b: 20 })
  expect(use.read()).toEqual([])
  await clock.settle()
  expect(use.read().map(({ tenant, bytes }) => [tenant, bytes])).toEqual([
    ['a', 10],
    ['a/b', 0],
    ['b', 20],
  ])
})

test('A count holds for ten minutes, and no two run at once', async () => {
  const { clock, use, asked } = await counted(['a'], {})
  for (let call = 0; call < 3; call += 1) use.read()
  await clock.settle()
  await clock.advance(9 * 60_000)
  use.read()
  await clock.settle()
  expect(asked).toEqual(['a'])
  await clock.advance(60_000)
  use.read()
  await clock.settle()
  expect(asked).toEqual(['a', 'a'])
})

test('A count that fails is a warning, leaves what was counted, and is tried again later', async () => {
  const sizes: Record<string, number | Error> = { a: 10 }
  const { clock, use, warnings, asked } = await counted(['a'], sizes)
  use.read()
  await clock.settle()
  sizes['a'] = new Error('EIO')
  await clock.advance(10 * 60_000)
  use.read()
  await clock.settle()
  expect(use.read()).toMatchObject([{ tenant: 'a', bytes: 10 }])
  expect(warnings).toEqual(['the files of tenants could not be counted'])
  expect(asked).toHaveLength(2)
})

test('Of a thousand tenants and more, a thousand are counted', async () => {
  const { clock, use, asked } = await counted([], {}, ({ after }) => {
    const number = after === undefined ? 1_000 : Number(after.tenant) + 1
    return [record(String(number), 'a', { uid: String(number) })]
  })
  use.read()
  await clock.settle()
  expect([asked.length, use.read().length]).toEqual([1_000, 1_000])
})

test('A closed pool counts nothing', async () => {
  const { clock, use, asked } = await counted(['a'], {})
  use.stop()
  use.read()
  await clock.settle()
  expect(asked).toEqual([])
})
