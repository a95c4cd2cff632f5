import { expect, test } from 'vitest'
import type { StoredToken, TokenStore } from '../../src/store/api-store.ts'

const TOKEN: StoredToken = {
  id: 'btok_1',
  sha256: 'a'.repeat(64),
  tenant: 't',
  name: 'key 1',
  agents: ['writer', 'ü'],
  sessions: ['one'],
  expiresAt: 1_000,
}

const other = (number: number, change: Partial<StoredToken> = {}): StoredToken => ({
  ...TOKEN,
  id: `btok_${number}`,
  sha256: String(number).padStart(64, '0'),
  ...change,
})

/** What every TokenStore must do. */
export function tokenStoreConformance(open: () => Promise<TokenStore>): void {
  test('a token is found by its hash until it expires', async () => {
    const tokens = await open()
    expect(await tokens.create(TOKEN, { now: 0, max: 10 })).toBe(true)
    expect(await tokens.find(TOKEN.sha256, 999)).toEqual(TOKEN)
    expect(await tokens.find(TOKEN.sha256, 1_000)).toBeUndefined()
    expect(await tokens.find('b'.repeat(64), 0)).toBeUndefined()
  })

  test('a tenant has as many valid tokens as it may have, and others as many again', async () => {
    const tokens = await open()
    for (const number of [1, 2]) expect(await tokens.create(other(number), { now: 0, max: 2 })).toBe(true)
    expect(await tokens.create(other(3), { now: 0, max: 2 })).toBe(false)
    expect(await tokens.find(other(3).sha256, 0)).toBeUndefined()
    expect(await tokens.create(other(4, { tenant: 'u' }), { now: 0, max: 2 })).toBe(true)
    expect(await tokens.create(other(5, { expiresAt: 2_000 }), { now: 1_000, max: 2 })).toBe(true)
  })

  test('of many that are made at once no more are kept than the tenant may have', async () => {
    const tokens = await open()
    const made = await Promise.all([1, 2, 3, 4].map((number) => tokens.create(other(number), { now: 0, max: 2 })))
    expect(made.filter(Boolean)).toHaveLength(2)
  })

  test('a token is removed by its tenant, once, and only while it is valid', async () => {
    const tokens = await open()
    for (const number of [1, 2]) await tokens.create(other(number), { now: 0, max: 10 })
    expect(await tokens.remove('u', 'btok_1', 0)).toBe(false)
    expect(await tokens.remove('t', 'btok_1', 0)).toBe(true)
    expect(await tokens.remove('t', 'btok_1', 0)).toBe(false)
    expect(await tokens.find(other(1).sha256, 0)).toBeUndefined()
    expect(await tokens.find(other(2).sha256, 0)).toBeDefined()
    expect(await tokens.remove('t', 'btok_2', 1_000)).toBe(false)
  })
}
