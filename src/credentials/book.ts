import type { Clock } from '../clock.ts'
import { nothingSpent, periodOf, refusalOf } from './budget.ts'
import type { AccountState, Refusal } from './budget.ts'
import { accountsOf, idOf } from './protocol.ts'
import type { Charged } from './protocol.ts'
import { wallDate } from '../clock.ts'

/** What has been spent from each account that has a budget. The proxy keeps one to refuse by, its host one to remember. */
export class Book {
  readonly #clock: Pick<Clock, 'wall'>
  readonly #accounts = new Map<string, AccountState>()

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
  }

  set(state: AccountState): void {
    this.#accounts.set(idOf(state.account), { ...state, spent: { ...state.spent } })
  }

  get(account: AccountState['account']): AccountState | undefined {
    const state = this.#accounts.get(idOf(account))
    return state === undefined ? undefined : this.#now(state)
  }

  forget(account: AccountState['account']): void {
    this.#accounts.delete(idOf(account))
  }

  /** Adds to all accounts that are charged. */
  charge(charged: Charged, tokens: number, costUsd: number): void {
    for (const { spent } of this.#of(charged)) {
      spent.tokens += tokens
      spent.costUsd += costUsd
    }
  }

  /** Why the next call is refused; undefined: it is not. */
  refusal(charged: Charged): Refusal | undefined {
    return refusalOf(this.#of(charged))
  }

  #of(charged: Charged): AccountState[] {
    return accountsOf(charged).flatMap((account) => this.get(account) ?? [])
  }

  /** With nothing spent, when another period has begun. */
  #now(state: AccountState): AccountState {
    const period = periodOf(state.budget?.per, wallDate(this.#clock.wall()))
    if (state.spent.period !== period) state.spent = nothingSpent(period)
    return state
  }
}
