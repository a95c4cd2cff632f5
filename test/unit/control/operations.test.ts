import { expect, test } from 'vitest'
import { operate, summarize } from '../../../src/control/operations.ts'
import type { Operation } from '../../../src/control/operations.ts'
import { fakes } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const listed = (from: number, count: number): { tenant: string; key: string; turns: number }[] =>
  Array.from({ length: count }, (_, at) => ({ tenant: 'acme', key: `k${from + at}`, turns: 2 }))

test.each([0, 199, 200, 201, 400])('%d sessions of a tenant are counted over all pages', async (count) => {
  const pages: unknown[] = []
  const summary = await summarize('acme', ({ tenant, limit, after }) => {
    pages.push([tenant, limit, after?.key])
    const from = after === undefined ? 0 : Number(after.key.slice(1)) + 1
    return Promise.resolve(listed(from, Math.min(limit, count - from)))
  })
  expect(summary).toEqual({ sessions: count, turns: count * 2 })
  expect(pages.slice(0, 2)).toEqual(
    [
      ['acme', 200, undefined],
      ['acme', 200, 'k199'],
    ].slice(0, pages.length),
  )
  expect(pages).toHaveLength(Math.floor(count / 200) + 1)
})

test('A tenant is told with what there is of it, and of no other', async () => {
  const { pool, session } = await fakes({ dataDir: await temporaryFolder() })
  await (await session('one')).send('hello').result
  await session('two')
  const told = async (operation: Operation): Promise<unknown> => {
    const { value, done } = await operate(pool, operation, (async function* () {})()).next()
    expect(done).toBe(true)
    return value
  }
  expect(await told({ do: 'tenant', tenant: 'default' })).toEqual({ sessions: 2, turns: 1, resources: 0, running: [] })
  expect(await told({ do: 'tenant', tenant: 'other' })).toEqual({ sessions: 0, turns: 0, resources: 0, running: [] })
})
