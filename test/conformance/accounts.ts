import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BudgetAccount, Store } from '../../src/store/store.ts'
import { OneHost } from './one-host.ts'
import { record } from './sessions.ts'

const TENANT: BudgetAccount = { scope: 'tenant', tenant: 't', name: 't' }
const SESSION: BudgetAccount = { scope: 'session', tenant: 't', name: 'a' }

/** What every store must do for budgets. */
export function accountConformance(open: () => Promise<Store>): void {
  let store: Store
  let host: OneHost

  beforeEach(async () => {
    store = await open()
    host = await OneHost.of(store)
  })

  afterEach(() => store.close())

  describe('an account', () => {
    test('has nothing before anything was used', async () => {
      expect(await store.readAccount(TENANT)).toEqual({ spent: undefined, budget: undefined })
    })

    test('adds up what is used in a period', async () => {
      await store.spend(TENANT, { period: '2026-11', tokens: 10, costUsd: 0.5 })
      await store.spend(TENANT, { period: '2026-11', tokens: 5, costUsd: 0.25 })
      expect((await store.readAccount(TENANT)).spent).toEqual({ period: '2026-11', tokens: 15, costUsd: 0.75 })
    })

    test('begins anew with another period', async () => {
      await store.spend(TENANT, { period: '2026-11', tokens: 10, costUsd: 0.5 })
      await store.spend(TENANT, { period: '2026-12', tokens: 1, costUsd: 0.125 })
      expect((await store.readAccount(TENANT)).spent).toEqual({ period: '2026-12', tokens: 1, costUsd: 0.125 })
    })

    test('keeps its budget and what was used apart', async () => {
      await store.setBudget(TENANT, { costUsd: 20, per: 'month' })
      expect(await store.readAccount(TENANT)).toEqual({ spent: undefined, budget: { costUsd: 20, per: 'month' } })
      await store.spend(TENANT, { period: '', tokens: 1, costUsd: 0 })
      await store.setBudget(TENANT, undefined)
      expect(await store.readAccount(TENANT)).toEqual({
        spent: { period: '', tokens: 1, costUsd: 0 },
        budget: undefined,
      })
    })

    test('is that of one scope and one tenant alone', async () => {
      await host.put(record('t', 'a'))
      await store.spend(SESSION, { period: '', tokens: 1, costUsd: 0 })
      for (const other of [TENANT, { ...SESSION, tenant: 'u' }, { ...SESSION, scope: 'agent' as const }])
        expect((await store.readAccount(other)).spent).toBeUndefined()
    })

    test('of a session goes with the session, and no other one does', async () => {
      await host.put(record('t', 'a'))
      await host.put(record('t', 'b'))
      const other = { ...SESSION, name: 'b' }
      for (const account of [SESSION, other, TENANT]) await store.spend(account, { period: '', tokens: 1, costUsd: 0 })
      await host.remove('t', 'a')
      await store.spend(SESSION, { period: '', tokens: 1, costUsd: 0 })
      expect((await store.readAccount(SESSION)).spent).toBeUndefined()
      for (const account of [other, TENANT]) expect((await store.readAccount(account)).spent?.tokens).toBe(1)
    })
  })
}
