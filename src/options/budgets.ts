import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** How much of the model may be used. The call that reaches it is finished, and the next one is refused. */
export interface BudgetOptions {
  /** US dollars, by list prices or those of `budgets.prices`. */
  costUsd?: number
  /** Tokens of all kinds, those of the cache included. */
  tokens?: number
  /** It begins anew with each day or month, as UTC has them. Default: never. */
  per?: 'day' | 'month'
}

/** US dollars for a million tokens of a model. */
export interface PriceOptions {
  input: number
  output: number
  /** Default: 1.25 times `input`. */
  cacheWrite?: number
  /** Default: a tenth of `input`. */
  cacheRead?: number
}

/** Budgets that the credential proxy holds agents to. Default: none. */
export interface BudgetsOptions {
  /** Of each session. */
  session?: BudgetOptions
  /** Of each agent, all its sessions together. */
  agent?: BudgetOptions
  /** Of each tenant, all its sessions together. `pool.setBudget()` sets another one for a single tenant. */
  tenant?: BudgetOptions
  /** Prices of models that the list does not know, or other ones, by the whole name of the model. */
  prices?: Readonly<Record<string, PriceOptions>>
}

export type Budgets = Readonly<Omit<BudgetsOptions, 'prices'>> & {
  readonly prices: Readonly<Record<string, PriceOptions>>
}

const amount = z.number({ error: 'is not a number' }).positive({ error: 'is not above 0' })

const budgetSchema = z.strictObject({
  costUsd: amount.optional(),
  tokens: amount.int({ error: 'is not a whole number' }).optional(),
  per: z.enum(['day', 'month'], { error: 'is neither "day" nor "month"' }).optional(),
})

const price = z.number({ error: 'is not a number' }).nonnegative({ error: 'is below 0' })

const schema = z.strictObject({
  session: budgetSchema.optional(),
  agent: budgetSchema.optional(),
  tenant: budgetSchema.optional(),
  prices: z
    .record(
      z.string(),
      z.strictObject({ input: price, output: price, cacheWrite: price.optional(), cacheRead: price.optional() }),
    )
    .optional(),
})

/** One budget. Throws ConfigError that begins with `path`. */
export function readBudget(path: string, input: unknown): BudgetOptions {
  const budget = validate(path, budgetSchema, input) as BudgetOptions
  if (budget.costUsd === undefined && budget.tokens === undefined)
    throw new ConfigError(path, 'needs costUsd, tokens or both')
  return Object.freeze(budget)
}

export function readBudgets(input: BudgetsOptions | undefined): Budgets {
  const given = validate('budgets', schema, input ?? {}) as BudgetsOptions
  for (const scope of ['session', 'agent', 'tenant'] as const)
    if (given[scope] !== undefined) readBudget(`budgets.${scope}`, given[scope])
  return Object.freeze({ ...given, prices: given.prices ?? {} })
}

/** Whether there is any budget to hold agents to. */
export const hasBudget = ({ session, agent, tenant }: Budgets): boolean =>
  [session, agent, tenant].some((budget) => budget !== undefined)
