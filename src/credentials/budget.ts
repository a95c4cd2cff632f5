import type { Budget, BudgetAccount, Spending } from '../store/store.ts'
import type { Counted } from './prices.ts'

/** An account as it is known now. */
export interface AccountState {
  account: BudgetAccount
  /** Undefined: no ceiling. */
  budget: Budget | undefined
  spent: Spending
}

/** Why a call is refused. */
export interface Refusal {
  account: BudgetAccount
  message: string
}

const pad = (value: number): string => String(value).padStart(2, '0')

/** The period of a budget that a moment is in, as UTC has it: `2026-11-29`, `2026-11`, or `` for a budget that never begins anew. */
export function periodOf(per: Budget['per'], date: Date): string {
  if (per === undefined) return ''
  const month = `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}`
  return per === 'month' ? month : `${month}-${pad(date.getUTCDate())}`
}

export const nothingSpent = (period: string): Spending => ({ period, tokens: 0, costUsd: 0 })

/** All tokens of an answer, of whatever kind. */
export const tokensOf = ({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: Counted): number =>
  inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens

const AGAIN = { day: '; it begins anew at 00:00 UTC', month: '; it begins anew with the next month, UTC' } as const

const ROUNDED = { maximumFractionDigits: 2, minimumFractionDigits: 2 }
const usd = (value: number): string => `$${value.toLocaleString('en-US', ROUNDED)}`
const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

/** What the CLI shows. */
function refusal({ account, budget, spent }: AccountState): string | undefined {
  if (budget === undefined) return undefined
  const { costUsd = Infinity, tokens = Infinity, per } = budget
  const name = `the budget of ${account.scope} "${account.name}"`
  const again = per === undefined ? '' : AGAIN[per]
  if (spent.costUsd >= costUsd) return `${name} is used up: ${usd(spent.costUsd)} of ${usd(costUsd)}${again}`
  if (spent.tokens >= tokens) return `${name} is used up: ${whole(spent.tokens)} of ${whole(tokens)} tokens${again}`
  return undefined
}

/** The first account that has no more to spend. */
export function refusalOf(states: Iterable<AccountState>): Refusal | undefined {
  for (const state of states) {
    const message = refusal(state)
    if (message !== undefined) return { account: state.account, message }
  }
  return undefined
}
