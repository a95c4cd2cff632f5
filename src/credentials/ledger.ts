import { wallDate } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { Budgets } from '../options/budgets.ts'
import type { Budget, BudgetAccount, Spending, Store } from '../store/store.ts'
import { Book } from './book.ts'
import { nothingSpent, periodOf } from './budget.ts'
import type { AccountState } from './budget.ts'
import { accountsOf, idOf } from './protocol.ts'
import type { Charged } from './protocol.ts'

/** What was used is in the store so soon. */
const WRITE_MS = 1_000

type AccountStore = Pick<Store, 'readAccount' | 'spend' | 'setBudget'>

interface LedgerContext {
  clock: Clock
  store: AccountStore
  budgets: Budgets
  trouble: (message: string, error: unknown) => void
}

/** The host's side of budgets: which there are, what was used of them, and how both outlive the host. */
export class Ledger {
  readonly #context: LedgerContext
  readonly #book: Book
  readonly #loading = new Map<string, Promise<AccountState>>()
  readonly #unwritten = new Map<string, { account: BudgetAccount; spending: Spending }>()
  #writing: Promise<void> = Promise.resolve()
  #cancelWrite: CancelTimer | undefined

  constructor(context: LedgerContext) {
    this.#context = context
    this.#book = new Book(context.clock)
  }

  /** Whether a session has a budget, so that its calls wait until it is known. */
  get needsSession(): boolean {
    return this.#context.budgets.session !== undefined
  }

  /** What an account has, read from the store the first time. Rejects with StoreError. */
  async load(account: BudgetAccount): Promise<AccountState> {
    const known = this.#book.get(account)
    if (known !== undefined) return known
    const id = idOf(account)
    let loading = this.#loading.get(id)
    if (loading === undefined) {
      loading = this.#read(account).finally(() => this.#loading.delete(id))
      this.#loading.set(id, loading)
    }
    return loading
  }

  /** The accounts of a worker. Rejects with StoreError. */
  loadAll(charged: Charged): Promise<AccountState[]> {
    return Promise.all(accountsOf(charged).map((account) => this.load(account)))
  }

  known(account: BudgetAccount): AccountState | undefined {
    return this.#book.get(account)
  }

  /** Sets the budget of a tenant, or lets that of the options hold again. Rejects with StoreError. */
  async setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<AccountState> {
    const { store, budgets } = this.#context
    await this.load(account)
    await store.setBudget(account, budget)
    return this.#hold(account, budget ?? budgets[account.scope], this.#book.get(account)?.spent)
  }

  /** Notes what a call has used. */
  charge(charged: Charged, tokens: number, costUsd: number): void {
    this.#book.charge(charged, tokens, costUsd)
    for (const account of accountsOf(charged)) {
      const state = this.#book.get(account)
      if (state?.budget === undefined) continue
      this.#note(account, { period: state.spent.period, tokens, costUsd })
    }
    if (this.#unwritten.size > 0) this.#cancelWrite ??= this.#context.clock.after(WRITE_MS, () => void this.#written())
  }

  /** Forgets what need not be remembered here, unless it is needed by then; it stays in the store. */
  async forget(account: BudgetAccount, isNeeded: () => boolean): Promise<void> {
    await this.#written()
    if (!isNeeded() && !this.#unwritten.has(idOf(account))) this.#book.forget(account)
  }

  /** Resolves when all is in the store that was used. */
  close(): Promise<void> {
    return this.#written()
  }

  /** Has something written that was used, beside what waits already. */
  #note(account: BudgetAccount, { period, tokens, costUsd }: Spending): void {
    const waiting = this.#unwritten.get(idOf(account))?.spending
    const before = waiting?.period === period ? waiting : nothingSpent(period)
    const spending = { period, tokens: before.tokens + tokens, costUsd: before.costUsd + costUsd }
    this.#unwritten.set(idOf(account), { account, spending })
  }

  /** Writes what has not been written, one batch after the other. */
  #written(): Promise<void> {
    this.#cancelWrite?.()
    this.#cancelWrite = undefined
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  async #write(): Promise<void> {
    const batch = [...this.#unwritten.values()]
    this.#unwritten.clear()
    const { store, trouble } = this.#context
    for (const { account, spending } of batch) {
      try {
        await store.spend(account, spending)
      } catch (error) {
        // It is written with what is used next, unless that is of another period.
        if (!this.#unwritten.has(idOf(account))) this.#note(account, spending)
        trouble(`what ${account.scope} "${account.name}" has used of its budget could not be kept`, error)
      }
    }
  }

  async #read(account: BudgetAccount): Promise<AccountState> {
    const { budgets, store } = this.#context
    const kept = await store.readAccount(account)
    return this.#hold(account, kept.budget ?? budgets[account.scope], kept.spent)
  }

  /** From now on this is what the account has. What was used in another period is over. */
  #hold(account: BudgetAccount, budget: Budget | undefined, spent: Spending | undefined): AccountState {
    const period = periodOf(budget?.per, wallDate(this.#context.clock.wall()))
    const state = { account, budget, spent: spent?.period === period ? spent : nothingSpent(period) }
    this.#book.set(state)
    return state
  }
}
