import { expect, test } from 'vitest'
import type { Resource, ResourceQuery, ResourceStore } from '../../src/store/api-store.ts'

const resource = (change: Partial<Resource> = {}): Resource => ({
  kind: 'agent',
  tenant: 't',
  id: 'a',
  version: 1,
  createdAt: 1_000,
  archivedAt: null,
  parent: null,
  body: '{"name":"ü"}',
  ...change,
})

const query = (change: Partial<ResourceQuery> = {}): ResourceQuery => ({
  kind: 'session',
  tenant: 't',
  order: 'asc',
  limit: 100,
  maxSize: 1_000_000,
  ...change,
})

/** What every ResourceStore must do. */
export function resourceStoreConformance(open: () => Promise<ResourceStore>): void {
  /** Sessions of these ids, a second apart. */
  const withSessions = async (ids: readonly string[], change: Partial<Resource> = {}): Promise<ResourceStore> => {
    const store = await open()
    for (const [index, id] of ids.entries())
      await store.create(resource({ kind: 'session', id, createdAt: index * 1_000, ...change }))
    return store
  }
  const idsOf = async (store: ResourceStore, change: Partial<ResourceQuery> = {}): Promise<string[]> =>
    (await store.list(query(change))).rows.map(({ id }) => id)

  test('a resource is found as it was made, by its kind, tenant and id', async () => {
    const store = await open()
    const made = resource({ archivedAt: 2_000, parent: 'p' })
    await store.create(made)
    expect(await store.get('agent', 't', 'a')).toEqual(made)
    expect(await store.get('agent', 'u', 'a')).toBeUndefined()
    expect(await store.get('session', 't', 'a')).toBeUndefined()
    expect(await store.get('agent', 't', 'b')).toBeUndefined()
  })

  test('a resource is not made twice, and stays as it is then', async () => {
    const store = await open()
    await store.create(resource())
    await expect(store.create(resource({ body: '{}' }))).rejects.toMatchObject({ code: 'store_failed' })
    expect(await store.get('agent', 't', 'a')).toEqual(resource())
  })

  test('a resource changes from what it was, once', async () => {
    const store = await open()
    await store.create(resource())
    const after = resource({ version: 2, archivedAt: 5, body: '{"name":"x"}' })
    expect(await store.replace(resource(), after)).toBe(true)
    expect(await store.get('agent', 't', 'a')).toEqual(after)
    expect(await store.replace(resource(), resource({ version: 2, body: '{"name":"y"}' }))).toBe(false)
    expect(await store.get('agent', 't', 'a')).toEqual(after)
  })

  test('of two changes at the same time one is made', async () => {
    const store = await open()
    await store.create(resource())
    const changes = ['{"name":"x"}', '{"name":"y"}'].map((body) =>
      store.replace(resource(), resource({ version: 2, body })),
    )
    expect((await Promise.all(changes)).filter(Boolean)).toHaveLength(1)
  })

  test('a resource that was removed does not change, and does not come back', async () => {
    const store = await open()
    await store.create(resource())
    await store.remove('agent', 't', 'a')
    expect(await store.replace(resource(), resource({ version: 2 }))).toBe(false)
    expect(await store.get('agent', 't', 'a')).toBeUndefined()
    await store.remove('agent', 't', 'a')
  })

  test('an agent has all its versions until it is removed; a change without a new version makes none', async () => {
    const store = await open()
    const second = resource({ version: 2, body: '{"n":2}' })
    const archived = { ...second, archivedAt: 9, body: '{"n":2,"archived":true}' }
    await store.create(resource())
    await store.replace(resource(), second)
    await store.replace(second, archived)
    expect(await store.version('agent', 't', 'a', 1)).toBe(resource().body)
    expect(await store.version('agent', 't', 'a', 2)).toBe(second.body)
    expect(await store.version('agent', 't', 'a', 3)).toBeUndefined()
    expect(await store.version('agent', 'u', 'a', 1)).toBeUndefined()
    expect(await store.count('agent', 't')).toBe(2)
    await store.remove('agent', 't', 'a')
    expect(await store.version('agent', 't', 'a', 1)).toBeUndefined()
    expect(await store.count('agent', 't')).toBe(0)
  })

  test('versions come newest first, within bounds', async () => {
    const store = await open()
    let before = resource()
    await store.create(before)
    for (const version of [2, 3, 4]) {
      const after = resource({ version, body: `{"n":${version}}` })
      await store.replace(before, after)
      before = after
    }
    const versions = (change: object) =>
      store.versions({ kind: 'agent', tenant: 't', id: 'a', before: 5, limit: 10, maxSize: 1_000, ...change })
    expect(await versions({ limit: 2 })).toEqual({
      rows: [4, 3].map((createdAt) => ({ id: 'a', createdAt, body: `{"n":${createdAt}}` })),
      more: true,
    })
    const rest = await versions({ before: 3 })
    expect([rest.rows.map(({ createdAt }) => createdAt), rest.more]).toEqual([[2, 1], false])
    expect((await versions({ maxSize: 1 })).rows).toHaveLength(1)
  })

  test('lists go by time and then by id, in either order, from any place', async () => {
    const store = await withSessions(['c', 'a', 'b'], { createdAt: 7 })
    await store.create(resource({ kind: 'session', id: 'first', createdAt: 1 }))
    await store.create(resource({ kind: 'session', id: 'B', createdAt: 7 }))
    expect(await idsOf(store)).toEqual(['first', 'B', 'a', 'b', 'c'])
    expect(await idsOf(store, { order: 'desc' })).toEqual(['c', 'b', 'a', 'B', 'first'])
    expect(await idsOf(store, { after: { createdAt: 7, id: 'a' } })).toEqual(['b', 'c'])
    expect(await idsOf(store, { order: 'desc', after: { createdAt: 7, id: 'B' } })).toEqual(['first'])
  })

  test('a list has those of its kind, tenant, parent and time, and archived ones on demand', async () => {
    const store = await withSessions(['a', 'b', 'c'])
    await store.create(resource({ kind: 'session', id: 'archived', createdAt: 5_000, archivedAt: 6_000, parent: 'p' }))
    await store.create(resource({ kind: 'session', id: 'foreign', tenant: 'u' }))
    await store.create(resource({ kind: 'environment', id: 'environment' }))
    expect(await idsOf(store)).toEqual(['a', 'b', 'c'])
    expect(await idsOf(store, { includeArchived: true })).toEqual(['a', 'b', 'c', 'archived'])
    expect(await idsOf(store, { includeArchived: true, parent: 'p' })).toEqual(['archived'])
    expect(await idsOf(store, { from: 1_000, to: 2_000 })).toEqual(['b', 'c'])
  })

  test('a list says whether its bounds have cut it, and has one at least', async () => {
    const store = await withSessions(['a', 'b', 'c'], { body: 'x'.repeat(100) })
    const list = async (change: Partial<ResourceQuery>): Promise<unknown> => {
      const { rows, more } = await store.list(query(change))
      return [rows.length, more]
    }
    expect(await list({ limit: 2 })).toEqual([2, true])
    expect(await list({ maxSize: 1 })).toEqual([1, true])
    expect(await list({ maxSize: 150 })).toEqual([2, true])
    expect(await list({ limit: 10 })).toEqual([3, false])
  })

  test('tenants are named that have one of a kind which is not archived, in pages', async () => {
    const store = await withSessions(['a', 'b'], { tenant: 'one' })
    await store.create(resource({ kind: 'session', tenant: 'two' }))
    await store.create(resource({ kind: 'session', tenant: 'done', archivedAt: 5 }))
    await store.create(resource({ kind: 'file', tenant: 'other' }))
    expect(await store.tenantsWith('session', { limit: 10 })).toEqual(['one', 'two'])
    expect(await store.tenantsWith('session', { limit: 1 })).toEqual(['one'])
    expect(await store.tenantsWith('session', { after: 'one', limit: 1 })).toEqual(['two'])
    expect(await store.tenantsWith('session', { after: 'two', limit: 1 })).toEqual([])
  })

  test('what a tenant has is counted, and its bytes with those of all versions', async () => {
    const store = await withSessions(['a', 'b'])
    expect(await store.count('session', 't')).toBe(2)
    expect(await store.count('session', 'u')).toBe(0)
    const bytes = Buffer.byteLength(resource().body)
    expect(await store.size('t')).toBe(2 * bytes)
    await store.create(resource())
    expect(await store.size('t')).toBe(4 * bytes)
    expect(await store.size('u')).toBe(0)
  })
}
