import { describe, expect, test } from 'vitest'
import { Ledger } from '../../../src/credentials/ledger.ts'
import type { Charged } from '../../../src/credentials/protocol.ts'
import { Book } from '../../../src/credentials/book.ts'
import { periodOf } from '../../../src/credentials/budget.ts'
import { readBudgets } from '../../../src/options/budgets.ts'
import type { BudgetsOptions } from '../../../src/options/budgets.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { FakeClock } from '../../../src/testing/clock.ts'
import { record } from '../../conformance/sessions.ts'

const CHARGED: Charged = { tenant: 'acme', agent: 'writer', session: 'one' }
const TENANT = { scope: 'tenant', tenant: 'acme', name: 'acme' } as const
const DAY_MS = 24 * 60 * 60_000

function ledgerOf(options: BudgetsOptions, store = new MemoryStore()) {
  const clock = new FakeClock()
  const troubles: string[] = []
  const trouble = (message: string): void => void troubles.push(message)
  return { clock, store, troubles, ledger: new Ledger({ clock, store, budgets: readBudgets(options), trouble }) }
}

describe('A budget', () => {
  test('refuses the call after the one that has used it up, and says whose it is', () => {
    const book = new Book(new FakeClock())
    book.set({ account: TENANT, budget: { costUsd: 1 }, spent: { period: '', tokens: 0, costUsd: 0 } })
    expect(book.refusal(CHARGED)).toBeUndefined()
    book.charge(CHARGED, 10, 0.99)
    expect(book.refusal(CHARGED)).toBeUndefined()
    book.charge(CHARGED, 10, 0.26)
    expect(book.refusal(CHARGED)).toEqual({
      account: TENANT,
      message: 'the budget of tenant "acme" is used up: $1.25 of $1.00',
    })
    expect(book.refusal({ ...CHARGED, tenant: 'other' })).toBeUndefined()
  })

  test('in tokens says how many, and when it begins anew', () => {
    const book = new Book(new FakeClock())
    const spent = { period: '2026-01', tokens: 12_000, costUsd: 3 }
    book.set({ account: TENANT, budget: { tokens: 10_000, per: 'month' }, spent })
    expect(book.refusal(CHARGED)?.message).toBe(
      'the budget of tenant "acme" is used up: 12,000 of 10,000 tokens; it begins anew with the next month, UTC',
    )
  })

  test.each([
    ['day', DAY_MS],
    ['month', 31 * DAY_MS],
  ] as const)('for a %s begins anew with the next one', async (per, later) => {
    const clock = new FakeClock()
    const book = new Book(clock)
    const period = periodOf(per, new Date(clock.wall()))
    book.set({ account: TENANT, budget: { tokens: 1, per }, spent: { period, tokens: 5, costUsd: 0 } })
    await clock.advance(later - 1)
    expect(book.refusal(CHARGED)).toBeDefined()
    await clock.advance(1)
    expect(book.refusal(CHARGED)).toBeUndefined()
  })

  test('is kept in the store, with what was used of it', async () => {
    const first = ledgerOf({ tenant: { tokens: 100 }, agent: { tokens: 100 } })
    await first.ledger.loadAll(CHARGED)
    first.ledger.charge(CHARGED, 60, 0.5)
    first.ledger.charge(CHARGED, 30, 0.5)
    await first.ledger.close()
    const second = ledgerOf({ tenant: { tokens: 100 } }, first.store)
    expect((await second.ledger.load(TENANT)).spent).toEqual({ period: '', tokens: 90, costUsd: 1 })
  })

  test('that was set for one tenant holds in place of that of the options, also for the next host', async () => {
    const { ledger, store } = ledgerOf({ tenant: { tokens: 100 } })
    await ledger.setBudget(TENANT, { costUsd: 7, per: 'day' })
    expect((await ledgerOf({ tenant: { tokens: 100 } }, store).ledger.load(TENANT)).budget).toEqual({
      costUsd: 7,
      per: 'day',
    })
    const other = { scope: 'tenant', tenant: 'b', name: 'b' } as const
    expect((await ledger.load(other)).budget).toEqual({ tokens: 100 })
    expect((await ledger.setBudget(TENANT, undefined)).budget).toEqual({ tokens: 100 })
  })

  test('that is raised keeps what was used', async () => {
    const { ledger } = ledgerOf({ tenant: { tokens: 100 } })
    await ledger.loadAll(CHARGED)
    ledger.charge(CHARGED, 60, 0)
    expect((await ledger.setBudget(TENANT, { tokens: 200 })).spent.tokens).toBe(60)
  })

  test('of a session is no burden to another session', async () => {
    const { ledger, store } = ledgerOf({ session: { tokens: 100 } })
    await store.create(record('acme', 'one'), await store.register('here'))
    await ledger.loadAll(CHARGED)
    ledger.charge(CHARGED, 60, 0)
    await ledger.close()
    const spent = async (name: string): Promise<number> =>
      (await ledger.load({ scope: 'session', tenant: 'acme', name })).spent.tokens
    expect([await spent('one'), await spent('two')]).toEqual([60, 0])
  })

  test('that the store does not take is told, still holds, and is taken later', async () => {
    const { ledger, store, troubles } = ledgerOf({ tenant: { tokens: 100 } })
    await ledger.loadAll(CHARGED)
    store.spend = () => Promise.reject(new Error('full'))
    ledger.charge(CHARGED, 60, 0)
    await ledger.close()
    expect(troubles).toEqual(['what tenant "acme" has used of its budget could not be kept'])
    expect((await ledger.load(TENANT)).spent.tokens).toBe(60)
    const kept = new MemoryStore()
    store.spend = (account, spending) => kept.spend(account, spending)
    ledger.charge(CHARGED, 5, 0)
    await ledger.close()
    expect((await kept.readAccount(TENANT)).spent?.tokens).toBe(65)
  })
})
